import { createHash } from 'node:crypto';
import { fileError, files } from './files';

/** Size and hash of a file when it was written. */
export interface WrittenFile {
  readonly bytes: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

/** More would be split by the system. */
const LARGEST_WRITE = 2 ** 30;

/**
 * Writes a new file and waits until it is on the disk.
 *
 * @param write - passes the file's bytes, piece by piece, to its argument.
 * @throws TesseraeError `ERR_CHECKPOINT` that names the file, if it can't be written.
 */
export async function writeDurably(
  file: string,
  write: (append: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<WrittenFile> {
  const hash = createHash('sha256');
  let at = 0;
  try {
    const handle = await files.open(file, 'wx');
    try {
      await write(async (bytes) => {
        hash.update(bytes);
        for (let done = 0; done < bytes.length;) {
          const length = Math.min(bytes.length - done, LARGEST_WRITE);
          const { bytesWritten } = await handle.write(bytes, done, length, at);
          if (bytesWritten === 0) throw new Error('the system wrote no bytes');
          done += bytesWritten;
          at += bytesWritten;
        }
      });
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw fileError(file, "can't be written", cause);
  }
  return { bytes: at, sha256: hash.digest('hex') };
}

/** Like writeDurably, for a text. */
export const writeText = (file: string, text: string): Promise<WrittenFile> =>
  writeDurably(file, (append) => append(Buffer.from(text, 'utf8')));
