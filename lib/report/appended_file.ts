import type { FileHandle } from 'node:fs/promises';

/** Writes to the end of an open file, in the order of the calls. */
export class AppendedFile {
  private pending: Promise<void> = Promise.resolve();
  private failure: Error | undefined;

  constructor(private readonly file: FileHandle) {}

  /** Returns at once. A failure to write is thrown by `close()`, and nothing is written after it. */
  append(content: string | Uint8Array): void {
    this.pending = this.pending
      .then(async () => {
        if (!this.failure) await this.file.appendFile(content);
      })
      .catch((failure: unknown) => {
        this.failure = failure instanceof Error ? failure : new Error(String(failure));
      });
  }

  /** Waits until all is written, and closes the file. */
  async close(): Promise<void> {
    await this.pending;
    await this.file.close();
    if (this.failure) throw this.failure;
  }
}
