import { randomBytes } from 'node:crypto';
import { readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { TesseraeError } from '../errors';
import { syncDirectory } from './atomic_directory';
import { readManifest, verifyFiles, verifySizes, type Manifest } from './manifest';
import { messageOf } from './safetensors';
import { readTrainerState } from './trainer_state';

/** A folder `checkpoint-<step>` of a run, whole or not. */
interface Candidate {
  readonly directory: string;
  readonly step: number;
  /** When it was written, in milliseconds since 1970; Infinity where only a manifest could tell, so that it is noticed. */
  readonly saved: number;
  /** Why its manifest can't be read, or the manifest. */
  readonly manifest: Manifest | TesseraeError;
}

/** The folder of a checkpoint in the folder of its run. */
export const checkpointFolder = (run: string, step: number): string => path.join(run, `checkpoint-${step}`);

/** Whether a folder holds any `checkpoint-<step>`, whole or not. */
export async function hasCheckpoints(run: string): Promise<boolean> {
  return (await candidates(run)).length > 0;
}

/**
 * The checkpoint of a run that was written last and is whole: each file has the size and the SHA-256 of its manifest.
 * There is no file that points to it, so none can be wrong.
 *
 * @returns its folder, and why later ones were passed over.
 * @throws TesseraeError `ERR_CHECKPOINT` when there is none; `details.damaged` says why not.
 */
export async function latestGoodCheckpoint(
  run: string,
): Promise<{ directory: string; damaged: readonly TesseraeError[] }> {
  const { directories, damaged } = await goodCheckpoints(run, 1);
  const [directory] = directories;
  if (directory !== undefined) return { directory, damaged };
  throw new TesseraeError(
    'ERR_CHECKPOINT',
    damaged.length === 0
      ? `'${run}' holds no checkpoint to resume from`
      : `every checkpoint of '${run}' is damaged: ${damaged.map(({ message }) => message).join('; ')}. Remove them to ` +
          'start anew',
    { details: { directory: run, damaged: damaged.map(({ message }) => message) } },
  );
}

/** The checkpoints of a run that were written last and are whole, at most `most`, as latestGoodCheckpoint. */
export async function goodCheckpoints(
  run: string,
  most: number,
): Promise<{ directories: readonly string[]; damaged: readonly TesseraeError[] }> {
  const directories: string[] = [];
  const damaged: TesseraeError[] = [];
  for (const { directory, manifest } of await candidates(run)) {
    if (directories.length === most) break;
    try {
      if (manifest instanceof TesseraeError) throw manifest;
      await verifyFiles(directory, manifest);
      directories.push(directory);
    } catch (error) {
      if (!(error instanceof TesseraeError)) throw error;
      damaged.push(error);
    }
  }
  return { directories, damaged };
}

/**
 * Removes the oldest checkpoints of a run, so that `limit` are left, and beside them the one with the least evaluation
 * loss. What was just saved is read back first: until it is known to be whole, nothing is removed. Those that lack
 * a file or a part of one count for nothing and stay.
 *
 * @param saved - the checkpoint that was just saved; it always stays, whatever the clock says.
 */
export async function rotateCheckpoints(run: string, limit: number, saved: string): Promise<void> {
  await verifyFiles(saved, await readManifest(saved));
  const whole: { directory: string; loss: number }[] = [];
  for (const { directory, manifest } of await candidates(run)) {
    try {
      if (manifest instanceof TesseraeError) continue;
      await verifySizes(directory, manifest);
      const { evaluationLoss = Infinity } = await readTrainerState(directory);
      whole.push({ directory, loss: evaluationLoss });
    } catch (error) {
      if (!(error instanceof TesseraeError)) throw error;
    }
  }
  const isSaved = ({ directory }: { directory: string }): boolean =>
    path.resolve(directory) === path.resolve(saved);
  const inOrder = [...whole.filter(isSaved), ...whole.filter((one) => !isSaved(one))];
  const least = Math.min(...whole.map(({ loss }) => loss));
  // Of several that are equally good the oldest, so that it does not change with every save.
  const best = whole.findLast(({ loss }) => loss === least && loss < Infinity);
  for (const { directory } of inOrder.slice(limit))
    if (directory !== best?.directory) await remove(directory);
}

/** First out of the way in one step, so that a crash can't leave half of it under its name. */
async function remove(directory: string): Promise<void> {
  const trash = `${directory}.trash-${randomBytes(6).toString('hex')}`;
  await rename(directory, trash);
  await syncDirectory(path.dirname(directory));
  await rm(trash, { recursive: true });
}

/**
 * Tidies up what a process left that died while it saved: puts a checkpoint back that was moved aside for another that
 * never came, and removes the rest. Not while another process saves there.
 */
export async function removeLeftovers(run: string): Promise<void> {
  const names: string[] = await readdir(run).catch(() => []);
  for (const name of names) {
    const [, checkpoint, kind] = /^(checkpoint-\d+)\.(tmp|old|trash)-[0-9a-f]{12}$/.exec(name) ?? [];
    if (checkpoint === undefined) continue;
    if (kind === 'old' && !names.includes(checkpoint))
      await rename(path.join(run, name), path.join(run, checkpoint));
    else await rm(path.join(run, name), { recursive: true, force: true });
  }
}

/** Those written last first. */
async function candidates(run: string): Promise<Candidate[]> {
  let names: string[];
  try {
    names = await readdir(run);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new TesseraeError('ERR_CHECKPOINT', `'${run}' cannot be read: ${messageOf(cause)}`, {
      details: { directory: run },
      cause,
    });
  }
  const found: Candidate[] = [];
  for (const name of names) {
    const step = /^checkpoint-(\d{1,15})$/.exec(name)?.[1];
    if (step === undefined) continue;
    const directory = path.join(run, name);
    const manifest = await readManifest(directory).catch((error: unknown) => {
      if (error instanceof TesseraeError) return error;
      throw error;
    });
    const saved = manifest instanceof TesseraeError ? Infinity : Date.parse(manifest.saved);
    found.push({ directory, step: Number(step), saved, manifest });
  }
  return found.sort((a, b) => (a.saved === b.saved ? b.step - a.step : b.saved - a.saved));
}
