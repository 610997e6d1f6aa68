import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/** What a file held when it was written. */
export interface WrittenFile {
  readonly bytes: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

/** Writes a new file and waits until it is on the disk. */
export async function writeText(file: string, text: string): Promise<WrittenFile> {
  const handle = await open(file, 'wx');
  try {
    await handle.writeFile(text, 'utf8');
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex') };
}
