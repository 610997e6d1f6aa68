import { rename, rm, writeFile } from 'node:fs/promises';
import { removeLeftoversOf } from './leftovers';
import { retried } from '../files/retried';
import { temporaryPath } from './temporary_path';

/**
 * Writes a text to a file that is then the old one or the new one, never a part: beside it first.
 *
 * @throws the file system's error; the file is then as it was.
 */
export async function replaceFile(file: string, text: string): Promise<void> {
  await removeLeftoversOf(file);
  const temporary = temporaryPath(file, 'tmp');
  try {
    await retried(() => writeFile(temporary, text, { flush: true }));
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}
