import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/**
 * The text of a small UTF-8 file.
 *
 * @throws Error that says why it can't be read: it is missing, too large, or no file.
 */
export async function readSmallFile(file: string, mostBytes: number): Promise<string> {
  // Opening a pipe would otherwise wait for a writer.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new Error('it is not a file');
    if (found.size > mostBytes)
      throw new Error(`it has ${found.size} bytes; such files have ${mostBytes} at most`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}
