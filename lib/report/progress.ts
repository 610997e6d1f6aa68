import type { SingleBar } from 'cli-progress';
import { terminalBar } from './bar';
import { formatCount, formatDuration } from './format';
import { safeLine } from './safe_text';

/** The values that the progress display shows. */
export interface ProgressState {
  /** Steps so far. */
  readonly step: number;
  /** Mean loss per target, in nats. */
  readonly loss: number;
  /** Tokens per second over the last steps. */
  readonly tokensPerSecond: number;
  /** Seconds to the end of the run at this speed. */
  readonly etaSeconds: number;
}

/** Where and how to show progress. */
export interface ProgressOptions {
  /** Steps of the whole run. */
  readonly total: number;
  /** Default standard error. */
  readonly stream?: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** Seconds between lines if the stream is not a terminal. Default 10. */
  readonly intervalSeconds?: number;
}

/**
 * Shows the progress of training: a bar on a terminal, refreshed at most ten times a second, or plain lines from time to time
 * elsewhere.
 */
export class TrainingProgress {
  private readonly stream: NonNullable<ProgressOptions['stream']>;
  private readonly total: number;
  private readonly interval: number;
  private readonly bar: SingleBar | undefined;
  private state: ProgressState | undefined;
  private step = 0;
  private lastLine = Date.now();

  constructor({ total, stream = process.stderr, intervalSeconds = 10 }: ProgressOptions) {
    this.stream = stream;
    this.total = total;
    this.interval = intervalSeconds * 1000;
    this.bar = terminalBar(stream);
  }

  /** Shows the values of a step. */
  update(state: ProgressState): void {
    this.state = state;
    this.show(state.step);
  }

  /** Shows that the run has reached a step whose values are not known. */
  advance(step: number): void {
    if (step !== this.step) this.show(step);
  }

  /** Writes a line that stays, above the bar. */
  log(text: string): void {
    // The bar restores the cursor to where it was started, so it has to start again below the line.
    this.bar?.stop();
    this.stream.write(`${safeLine(text)}\n`);
    this.draw();
  }

  /** Removes the bar; `update` would draw it again. */
  stop(): void {
    this.bar?.stop();
  }

  private show(step: number): void {
    this.step = step;
    if (this.bar) {
      if (this.bar.isActive) this.bar.update(step, { text: this.describe() });
      else this.draw();
    } else if (Date.now() - this.lastLine >= this.interval) {
      this.lastLine = Date.now();
      this.stream.write(`step ${this.describe()}\n`);
    }
  }

  private draw(): void {
    if (this.step > 0) this.bar?.start(this.total, this.step, { text: this.describe() });
  }

  private describe(): string {
    const done = `${this.step}/${this.total}`;
    if (!this.state) return done;
    const { step, loss, tokensPerSecond, etaSeconds } = this.state;
    const left = step < this.total ? (etaSeconds * (this.total - this.step)) / (this.total - step) : 0;
    return `${done} · loss ${loss.toFixed(4)} · ${formatCount(tokensPerSecond)} tokens/s · ${formatDuration(left)} left`;
  }
}
