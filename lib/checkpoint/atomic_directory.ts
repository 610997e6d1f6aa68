import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { TesseraeError } from '../errors';
import { messageOf } from './safetensors';

/**
 * Writes a folder so that it is there completely or not at all: into a temporary folder beside it, synced to the disk,
 * then renamed. A folder of that name is replaced, if it holds nothing but files of the names given.
 *
 * @param names - the files that `write` makes.
 * @throws TesseraeError `ERR_CHECKPOINT` when the folder holds something else or can't be written; the temporary folder
 * is removed then.
 */
export async function writeDirectory(
  directory: string,
  names: readonly string[],
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const target = path.resolve(directory);
  const suffix = randomBytes(6).toString('hex');
  const temporary = `${target}.tmp-${suffix}`;
  try {
    const replaced = await checkReplaceable(target, names);
    await mkdir(temporary, { recursive: true });
    await write(temporary);
    await syncDirectory(temporary);
    const old = `${target}.old-${suffix}`;
    if (replaced) await rename(target, old);
    await rename(temporary, target);
    await syncDirectory(path.dirname(target));
    if (replaced) await rm(old, { recursive: true });
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined); // its parent may be no folder
    if (cause instanceof TesseraeError) throw cause;
    throw new TesseraeError('ERR_CHECKPOINT', `'${directory}' cannot be written: ${messageOf(cause)}`, {
      details: { directory },
      cause,
    });
  }
}

/** Whether there is a folder that must be moved away; refuses to remove anything that is not a checkpoint's. */
async function checkReplaceable(target: string, names: readonly string[]): Promise<boolean> {
  let entries: string[];
  try {
    entries = await readdir(target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  const foreign = entries.find((entry) => !names.includes(entry));
  if (foreign !== undefined)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `'${target}' is not replaced by a checkpoint: it holds '${foreign}'. Save to a new folder`,
      { details: { directory: target } },
    );
  return true;
}

/** Makes renames and new names in a folder last beyond a power failure. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
