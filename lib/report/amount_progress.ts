import type { SingleBar } from 'cli-progress';
import { terminalBar } from './bar';
import { formatBytes, formatCount, formatDuration } from './format';

/** Makes the text of a progress bar: how much of the total was done in how many seconds. */
export type ProgressText = (done: number, total: number, seconds: number) => string;

/** Shows progress on a terminal, with rate and remaining time. Shows nothing elsewhere. */
export class AmountProgress {
  private readonly bar: SingleBar | undefined;
  private readonly started = performance.now();

  /** @param stream - default standard error. */
  constructor(
    private readonly textOf: ProgressText,
    stream: NodeJS.WritableStream & { readonly isTTY?: boolean } = process.stderr,
  ) {
    this.bar = terminalBar(stream);
  }

  /** Updates the bar. */
  readonly update = (done: number, total: number): void => {
    if (!this.bar) return;
    const text = this.textOf(done, total, (performance.now() - this.started) / 1000);
    if (this.bar.isActive) this.bar.update(done, { text });
    else this.bar.start(total, done, { text });
  };

  /** Removes the bar. */
  stop(): void {
    this.bar?.stop();
  }
}

/** `512 MiB of 2 GiB · 256 MiB/s · 6s left`. */
export const bytesText: ProgressText = (done, total, seconds) =>
  `${formatBytes(done)} of ${formatBytes(total)} · ${formatBytes(done / seconds)}/s · ${left(done, total, seconds)}`;

/** `12 k of 20 k tokens · 4 k tokens/s · 2s left`. */
export const tokensText: ProgressText = (done, total, seconds) =>
  `${formatCount(done)} of ${formatCount(total)} tokens · ${formatCount(done / seconds)} tokens/s · ` +
  left(done, total, seconds);

/** `3 of 15 products · 1.2 products/s · 10s left`. */
export const productsText: ProgressText = (done, total, seconds) =>
  `${done} of ${total} products · ${formatCount(done / seconds)} products/s · ${left(done, total, seconds)}`;

const left = (done: number, total: number, seconds: number): string =>
  `${formatDuration(((total - done) * seconds) / done)} left`;
