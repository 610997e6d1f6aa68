import { SingleBar } from 'cli-progress';
import { formatCount, formatDuration } from './format';

/** What the progress display shows of a step. */
export interface ProgressState {
  readonly step: number;
  readonly loss: number;
  readonly tokensPerSecond: number;
  readonly etaSeconds: number;
}

/** Where and how progress is shown. */
export interface ProgressOptions {
  /** Steps of the whole run. */
  readonly total: number;
  /** Default standard error. */
  readonly stream?: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** Seconds between lines where the stream is not a terminal. Default 10. */
  readonly intervalSeconds?: number;
}

/**
 * Shows how training goes on: a bar on a terminal, refreshed at most ten times a second; elsewhere a plain line now and
 * then.
 */
export class TrainingProgress {
  private readonly stream: NonNullable<ProgressOptions['stream']>;
  private readonly total: number;
  private readonly interval: number;
  private readonly bar: SingleBar | undefined;
  private state: ProgressState | undefined;
  private lastLine = Date.now();

  constructor({ total, stream = process.stderr, intervalSeconds = 10 }: ProgressOptions) {
    this.stream = stream;
    this.total = total;
    this.interval = intervalSeconds * 1000;
    if (!stream.isTTY) return;
    this.bar = new SingleBar({
      stream,
      format: '{bar} {text}',
      formatBar: (progress) => {
        const done = Math.round(progress * 24);
        return '█'.repeat(done) + '░'.repeat(24 - done);
      },
      fps: 10,
      clearOnComplete: true,
    });
  }

  /** Takes in the state after a step. */
  update(state: ProgressState): void {
    this.state = state;
    if (this.bar) {
      if (this.bar.isActive) this.bar.update(state.step, { text: this.describe(state) });
      else this.draw();
    } else if (Date.now() - this.lastLine >= this.interval) {
      this.lastLine = Date.now();
      this.stream.write(`step ${this.describe(state)}\n`);
    }
  }

  /** Writes a line that stays, above the bar. */
  log(text: string): void {
    // The bar restores the cursor to where it was started, so it has to start again below the line.
    this.bar?.stop();
    this.stream.write(`${text}\n`);
    this.draw();
  }

  /** Removes the bar; `update` would draw it again. */
  stop(): void {
    this.bar?.stop();
  }

  private draw(): void {
    if (this.state) this.bar?.start(this.total, this.state.step, { text: this.describe(this.state) });
  }

  private describe({ step, loss, tokensPerSecond, etaSeconds }: ProgressState): string {
    const rate = `${formatCount(tokensPerSecond)} tokens/s`;
    return `${step}/${this.total} · loss ${loss.toFixed(4)} · ${rate} · ${formatDuration(etaSeconds)} left`;
  }
}
