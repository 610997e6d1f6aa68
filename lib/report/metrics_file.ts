import { open, type FileHandle } from 'node:fs/promises';

/** What a line may hold; keys in camelCase become snake_case in the file, and numbers that aren't finite null. */
export type MetricsRecord = Readonly<Record<string, string | number | boolean | null | undefined>>;

/**
 * metrics.jsonl: one JSON object a line, written while training goes on, so that other programs may follow it.
 *
 * @example
 * const metrics = await MetricsFile.create('runs/demo/metrics.jsonl');
 * metrics.write({ type: 'step', step: 1, loss: 5.5, gradNorm: 1.2 }); // {"type":"step","step":1,"loss":5.5,"grad_norm":1.2}
 * await metrics.close();
 */
export class MetricsFile {
  private pending: Promise<void> = Promise.resolve();
  private failure: Error | undefined;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
  ) {}

  /** Creates the file, empty, or empties the one that is there. */
  static async create(path: string): Promise<MetricsFile> {
    return new MetricsFile(path, await open(path, 'w'));
  }

  /** Appends one line; returns at once. A failure to write is thrown by `close()`. */
  write(record: MetricsRecord): void {
    const line = metricsLine(record);
    this.pending = this.pending
      .then(async () => {
        if (!this.failure) await this.file.appendFile(line);
      })
      .catch((failure: unknown) => {
        this.failure = failure instanceof Error ? failure : new Error(String(failure));
      });
  }

  /** Waits until every line is written, and closes the file. */
  async close(): Promise<void> {
    await this.pending;
    await this.file.close();
    if (this.failure) throw this.failure;
  }
}

/** A record as it stands in the file, with its line feed. */
export function metricsLine(record: MetricsRecord): string {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  return `${JSON.stringify(Object.fromEntries(entries.map(([key, value]) => [snakeCase(key), value])))}\n`;
}

const snakeCase = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
