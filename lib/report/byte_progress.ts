import type { SingleBar } from 'cli-progress';
import { terminalBar } from './bar';
import { formatBytes, formatDuration } from './format';

/** Shows on a terminal how far the reading of files is, with rate and remaining time; elsewhere nothing. */
export class ByteProgress {
  private readonly bar: SingleBar | undefined;
  private readonly started = performance.now();

  /** @param stream - default standard error. */
  constructor(stream: NodeJS.WritableStream & { readonly isTTY?: boolean } = process.stderr) {
    if (stream.isTTY) this.bar = terminalBar(stream);
  }

  /** Takes in how many bytes of how many are done. */
  readonly update = (done: number, total: number): void => {
    if (!this.bar) return;
    const text = byteProgressText(done, total, (performance.now() - this.started) / 1000);
    if (this.bar.isActive) this.bar.update(done, { text });
    else this.bar.start(total, done, { text });
  };

  /** Removes the bar. */
  stop(): void {
    this.bar?.stop();
  }
}

/** `512 MiB of 2 GiB · 256 MiB/s · 6s left`. */
export function byteProgressText(done: number, total: number, seconds: number): string {
  const rate = done / seconds;
  const left = (total - done) / rate;
  return `${formatBytes(done)} of ${formatBytes(total)} · ${formatBytes(rate)}/s · ${formatDuration(left)} left`;
}
