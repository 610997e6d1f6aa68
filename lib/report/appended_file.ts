import type { FileHandle } from 'node:fs/promises';
import { messageOf, TesseraeError } from '../errors';
import { retried } from '../files/retried';

/** Most bytes that wait in memory while the file can't be written. */
const MOST_WAITING = 2 ** 20;

/** How a file is appended to. */
export interface AppendedFileOptions {
  /** Its name, for messages. */
  readonly path: string;
  /** Opens it for appending (O_APPEND); called until it succeeds. */
  readonly open: () => Promise<FileHandle>;
  /** Called when writing starts to fail, and when it works again but entries were lost. Default: only `close()` reports that. */
  readonly onTrouble?: ((message: string) => void) | undefined;
}

/**
 * Appends to a file in the order of the calls. Entries that can't be written wait in memory, up to 1 MiB, and are retried with
 * each further call and at the end. Entries beyond that are lost and reported.
 */
export class AppendedFile {
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  private lost = 0;
  private handle: FileHandle | undefined;
  /** Length of the complete entries; a failed write may leave a part of one after them, which is cut off. */
  private end = 0;
  /** Why the last write failed; undefined if it succeeded. */
  private failure: unknown;
  /** The last failure, also after a later write succeeded. */
  private reason: unknown;
  private writing: Promise<void> | undefined;

  constructor(private readonly options: AppendedFileOptions) {}

  /** Opens the file now instead of with the first write. @throws the file system's error. */
  async open(): Promise<FileHandle> {
    if (this.handle) return this.handle;
    const handle = await retried(this.options.open);
    this.end = (await handle.stat()).size;
    return (this.handle = handle);
  }

  /** Returns at once. @param content - written completely or lost completely. */
  append(content: string | Uint8Array): void {
    const bytes = Buffer.from(content as string);
    this.waiting.push(bytes);
    this.waitingBytes += bytes.length;
    // A slow disk loses nothing; only failures do.
    if (this.failure !== undefined) this.dropNewest();
    this.start();
  }

  /**
   * Waits until everything is written, and closes the file.
   *
   * @throws TesseraeError `ERR_CONFIG` if entries were lost; it says how many and why.
   */
  async close(): Promise<void> {
    await this.writing;
    this.start();
    await this.writing;
    const { handle } = this;
    this.handle = undefined;
    await handle?.close().catch((cause: unknown) => {
      this.reason = cause;
      this.lost++;
    });
    this.lost += this.waiting.length;
    this.waiting = [];
    if (this.lost === 0) return;
    const { path } = this.options;
    throw new TesseraeError(
      'ERR_CONFIG',
      `'${path}' lacks ${this.lost} entries, because it could not be written for some time: ${messageOf(this.reason)}`,
      { details: { file: path, lost: this.lost }, cause: this.reason },
    );
  }

  /** Keeps the oldest entries: a file may not be readable without its beginning. */
  private dropNewest(): void {
    while (this.waitingBytes > MOST_WAITING) {
      this.waitingBytes -= this.waiting.pop()?.length ?? 0;
      this.lost++;
    }
  }

  private start(): void {
    if (this.waiting.length === 0) return;
    this.writing ??= this.write().finally(() => (this.writing = undefined));
  }

  private async write(): Promise<void> {
    const { path, onTrouble } = this.options;
    while (this.waiting.length > 0) {
      const batch = this.waiting;
      this.waiting = [];
      try {
        const handle = await this.open();
        if (this.failure !== undefined) await handle.truncate(this.end);
        const bytes = Buffer.concat(batch);
        await handle.appendFile(bytes);
        this.end += bytes.length;
        this.waitingBytes -= bytes.length;
      } catch (cause) {
        this.waiting = [...batch, ...this.waiting];
        if (this.failure === undefined)
          onTrouble?.(
            `'${path}' can't be written (${messageOf(cause)}): its entries are kept in memory and retried`,
          );
        this.failure = this.reason = cause;
        this.dropNewest();
        return;
      }
      if (this.failure !== undefined && this.lost > 0)
        onTrouble?.(`'${path}' can be written again, but lacks ${this.lost} entries`);
      this.failure = undefined;
    }
  }
}
