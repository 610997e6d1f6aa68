import { rename, rm, writeFile } from 'node:fs/promises';
import { removeLeftoversOf } from './leftovers';
import { retried } from '../files/retried';
import { temporaryPath } from './temporary_path';

/**
 * Replaces the content of a file atomically: it writes a temporary file next to it and renames that.
 *
 * @throws the file system's error; the file is then unchanged.
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
