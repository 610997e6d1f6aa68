import path from 'node:path';
import { TesseraeError } from '../errors';
import { formatBytes } from '../report/format';
import { removeLeftoversOf } from '../report/leftovers';
import { temporaryPath } from '../report/temporary_path';
import { fileError, files, syncDirectory, systemCode } from './files';

/**
 * Writes a folder completely or not at all: into a temporary folder next to it, synced to the disk, then renamed. An existing
 * folder is replaced if it holds only files of the given names. First removes what a killed process left of the same folder.
 *
 * @param names - the files that `write` makes.
 * @param bytes - their approximate size, to say how much space a full disk lacks; 0: unknown.
 * @throws TesseraeError `ERR_CHECKPOINT` if the folder holds something else or can't be written. The old folder then stays,
 * and the temporary folder is removed.
 */
export async function writeDirectory(
  directory: string,
  names: readonly string[],
  write: (temporary: string) => Promise<void>,
  bytes = 0,
): Promise<void> {
  const target = path.resolve(directory);
  await removeLeftoversOf(target);
  const temporary = temporaryPath(target, 'tmp');
  const old = temporaryPath(target, 'old');
  const undo: (() => Promise<unknown>)[] = [() => files.remove(temporary)];
  let replaced: boolean;
  try {
    replaced = await checkReplaceable(target, names);
    await files.mkdir(temporary);
    await write(temporary);
    await syncDirectory(temporary);
    if (replaced) {
      await files.rename(target, old);
      undo.unshift(() => files.rename(old, target));
    }
    await files.rename(temporary, target);
    undo.unshift(() => files.rename(target, temporary));
    await syncDirectory(path.dirname(target));
  } catch (cause) {
    // A failing disk may fail here too: the next start of the run cleans up.
    for (const step of undo) await step().catch(() => undefined);
    throw await withMissingSpace(fileError(directory, "can't be written", cause), target, bytes);
  }
  if (replaced)
    await files.remove(old).catch((cause: unknown) => {
      throw fileError(old, `was replaced by '${directory}', but can't be removed`, cause);
    });
}

/** Whether there is a folder that must be moved away; refuses to remove files that are not part of a checkpoint. */
async function checkReplaceable(target: string, names: readonly string[]): Promise<boolean> {
  let entries: string[];
  try {
    entries = await files.readdir(target);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
  const foreign = entries.find((entry) => !names.includes(entry));
  if (foreign !== undefined)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `'${target}' is not replaced, because it holds '${foreign}', which is not part of a checkpoint: save to a new folder`,
      { details: { directory: target } },
    );
  return true;
}

/** Adds the space to free to the error of a full disk. */
async function withMissingSpace(error: TesseraeError, target: string, bytes: number): Promise<TesseraeError> {
  if (systemCode(error) !== 'ENOSPC' || bytes === 0) return error;
  const free = await files.freeBytes(path.dirname(target)).catch(() => 0);
  const missing = free < bytes ? `; ${formatBytes(bytes - free)} more are needed` : '';
  return new TesseraeError(
    'ERR_CHECKPOINT',
    `${error.message} (the checkpoint takes ${formatBytes(bytes)}, ${formatBytes(free)} are free${missing})`,
    { details: { ...error.details, bytes, free }, cause: error.cause },
  );
}
