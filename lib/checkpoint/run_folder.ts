import path from 'node:path';
import { TesseraeError } from '../errors';
import { filePath } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { formatBytes } from '../report/format';
import { isLeftover, parseTemporary, temporaryPath } from '../report/temporary_path';
import { writeText } from './durable_file';
import { fileError, files, isOfProcess, readError, syncDirectory, systemCode } from './files';
import { compareSaves, readManifest, verifyFiles, verifySizes, type Manifest } from './manifest';
import { readTrainerState, TRAINER_STATE } from './trainer_state';

/** A folder `checkpoint-<step>` of a run, whole or not. */
export interface Candidate {
  readonly directory: string;
  readonly step: number;
  /** Why its manifest can't be read, or the manifest. */
  readonly manifest: Manifest | TesseraeError;
}

/** The folder of a checkpoint in the folder of its run. */
export const checkpointFolder = (run: string, step: number): string => path.join(run, `checkpoint-${step}`);

/** Whether a folder holds any `checkpoint-<step>`, whole or not. */
export async function hasCheckpoints(run: string): Promise<boolean> {
  return (await checkpointsOf(run)).length > 0;
}

/**
 * The checkpoint of a run that was saved last and is whole: each file has the size and the SHA-256 of its manifest.
 * There is no file that points to it, so none can be wrong.
 *
 * @returns its folder, and why later ones were passed over.
 * @throws TesseraeError `ERR_CHECKPOINT` when there is none (`details.damaged` says why not), or a later one can't be read.
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
  for (const { directory, manifest } of await checkpointsOf(run)) {
    if (directories.length === most) break;
    try {
      if (manifest instanceof TesseraeError) throw manifest;
      await verifyFiles(directory, manifest);
      directories.push(directory);
    } catch (error) {
      // One that may be whole is not passed over: a run that went on from an earlier one would write over it.
      if (!(error instanceof TesseraeError) || isOfProcess(error)) throw error;
      damaged.push(error);
    }
  }
  return { directories, damaged };
}

/** A file of this name in the folder of a checkpoint keeps it from being removed. */
export const PINNED = 'pinned';

/** A checkpoint in the folder of a run. */
export interface CheckpointInfo {
  /** Its folder, `checkpoint-<step>`. */
  readonly directory: string;
  /** Optimizer steps before it. */
  readonly step: number;
  /** When it was written; absent where its manifest can't be read. */
  readonly saved?: Date;
  /** Bytes of its files by the manifest; absent likewise. */
  readonly bytes?: number;
  /** Mean loss of a target in the evaluation at this very step, in nats; absent where there was none. */
  readonly evaluationLoss?: number;
  /** Whether a file `pinned` keeps it for ever. */
  readonly pinned: boolean;
  /** Why it can't be resumed: a file is missing, can't be read or has another size than was written. */
  readonly damaged?: TesseraeError;
}

/**
 * The checkpoints of a run, those written last first, whatever the clock says. Sizes of files are compared with the manifest;
 * of their contents only those of the trainer's state are: `Trainer.resume` and `loadModel` do the rest.
 *
 * @param run - the outputDir of a run; one that isn't there has no checkpoints.
 * @throws TesseraeError `ERR_CHECKPOINT` when the folder can't be read.
 *
 * @example
 * const whole = (await listCheckpoints('runs/book')).filter(({ damaged }) => !damaged);
 * const [best] = whole.sort((a, b) => (a.evaluationLoss ?? Infinity) - (b.evaluationLoss ?? Infinity));
 */
export async function listCheckpoints(run: string): Promise<CheckpointInfo[]> {
  parseConfig(filePath, run, { at: 'run' });
  const found: CheckpointInfo[] = [];
  for (const candidate of await checkpointsOf(run)) found.push(await infoOf(candidate));
  return found;
}

async function infoOf({ directory, step, manifest }: Candidate): Promise<CheckpointInfo> {
  let info: CheckpointInfo = { directory, step, pinned: false };
  try {
    info = { ...info, pinned: (await entries(directory)).includes(PINNED) };
    if (manifest instanceof TesseraeError) throw manifest;
    const bytes = Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0);
    info = { ...info, saved: new Date(manifest.saved), bytes };
    await verifySizes(directory, manifest);
    // Its evaluation decides which checkpoints stay.
    await verifyFiles(directory, manifest, [TRAINER_STATE]);
    const { evaluationLoss } = await readTrainerState(directory);
    return evaluationLoss === undefined ? info : { ...info, evaluationLoss };
  } catch (error) {
    if (error instanceof TesseraeError) return { ...info, damaged: error };
    throw error;
  }
}

/** How many checkpoints of a run are kept. */
export interface Rotation {
  /** Folder of the run. */
  readonly run: string;
  /** The newest. */
  readonly limit: number;
  /** Beside them those with the least evaluation loss. */
  readonly bestLimit: number;
}

/**
 * Removes the oldest checkpoints of a run: `limit` are left, beside them the `bestLimit` with the least evaluation loss,
 * and those that are pinned, which count for nothing. What was just saved is read back first: until it is known to be
 * whole, nothing is removed. Those that lack a file or a part of one count for nothing and stay too.
 *
 * @param saved - the checkpoint that was just saved; it always stays, whatever the clock says.
 * @throws TesseraeError `ERR_CHECKPOINT` when it is damaged, or another can't be removed.
 */
export async function rotateCheckpoints({ run, limit, bestLimit }: Rotation, saved: string): Promise<void> {
  await verifyFiles(saved, await readManifest(saved));
  const whole = (await listCheckpoints(run))
    .filter(({ damaged, pinned }) => !damaged && !pinned)
    .map(({ directory, evaluationLoss = Infinity }) => ({ directory, loss: evaluationLoss }));
  const isSaved = ({ directory }: { directory: string }): boolean =>
    path.resolve(directory) === path.resolve(saved);
  const inOrder = [...whole.filter(isSaved), ...whole.filter((one) => !isSaved(one))];
  // Of several that are equally good the oldest, so that it does not change with every save.
  const best = whole
    .filter(({ loss }) => loss < Infinity)
    .reverse()
    .sort((a, b) => a.loss - b.loss)
    .slice(0, bestLimit);
  for (const one of inOrder.slice(limit)) if (!best.includes(one)) await remove(one.directory, saved);
}

/** First out of the way in one step, so that a crash can't leave half of it under its name. */
async function remove(directory: string, saved: string): Promise<void> {
  const trash = temporaryPath(directory, 'trash');
  try {
    await files.rename(directory, trash);
    await syncDirectory(path.dirname(directory));
    await files.remove(trash);
  } catch (cause) {
    throw fileError(directory, `cannot be removed, though '${saved}' was saved`, cause);
  }
}

/**
 * Tidies up what was left of saves that did not end: puts a checkpoint back that was moved aside for another that never
 * came, and removes the rest, but for what another process that lives is at work on. Whoever calls it holds the run's lock.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when that can't be done.
 */
export async function removeLeftovers(run: string): Promise<void> {
  const names = await entries(run);
  for (const name of names) {
    const temporary = parseTemporary(name);
    if (!temporary || !/^checkpoint-\d+$/.test(temporary.target)) continue;
    const { target: checkpoint, kind, owner } = temporary;
    if (owner && owner.pid !== process.pid && !(await isLeftover(temporary))) continue;
    const leftover = path.join(run, name);
    try {
      if (kind === 'old' && !names.includes(checkpoint))
        await files.rename(leftover, path.join(run, checkpoint));
      else await files.remove(leftover);
    } catch (cause) {
      throw fileError(leftover, 'was left by a crash, and cannot be removed', cause);
    }
  }
}

/** What is known before a run of the checkpoints that it will write. */
export interface ExpectedCheckpoints {
  /** Bytes of one. */
  readonly bytes: number;
  /** How many it will write. */
  readonly count: number;
  /** How many are kept. Default: all. */
  readonly rotation?: Rotation | undefined;
}

/**
 * Makes the folder of a run ready before its first step: makes it, tidies it up, tries to write there, and looks for
 * space on the disk.
 *
 * @returns what to warn of: the disk has space for one checkpoint, but not for all that will be there at a time.
 * @throws TesseraeError `ERR_CHECKPOINT` when nothing can be written there, or not even one checkpoint.
 */
export async function prepareRunFolder(
  run: string,
  { bytes, count, rotation }: ExpectedCheckpoints,
): Promise<string | undefined> {
  const probe = temporaryPath(path.join(run, 'checkpoint-0'), 'tmp');
  let free: number;
  try {
    await files.mkdir(run);
    await removeLeftovers(run);
    await files.mkdir(probe);
    await writeText(path.join(probe, 'probe'), 'probe');
    await files.remove(probe);
    free = await files.freeBytes(run);
  } catch (cause) {
    throw fileError(run, "cannot hold a run's checkpoints", cause);
  }
  // The newest is whole before an older one is removed.
  const atATime = rotation ? rotation.limit + rotation.bestLimit + 1 : Infinity;
  const there = (await checkpointsOf(run)).length;
  const more = Math.max(1, Math.min(count, atATime - there));
  const space = `the disk of '${run}' has ${formatBytes(free)} free, but`;
  if (free < bytes)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `${space} one checkpoint takes ${formatBytes(bytes)}: free ${formatBytes(bytes - free)}, or choose an outputDir on ` +
        'another disk',
      { details: { directory: run, bytes, free } },
    );
  if (free >= bytes * more) return undefined;
  return (
    `${space} the ${more} checkpoints to come take ${formatBytes(bytes * more)}, ${formatBytes(bytes)} each: free ` +
    `${formatBytes(bytes * more - free)}, or set a lower saveTotalLimit`
  );
}

/** The checkpoints of a run, whole or not, those saved last first. */
export async function checkpointsOf(run: string): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const name of await entries(run)) {
    const step = /^checkpoint-(\d{1,15})$/.exec(name)?.[1];
    if (step === undefined) continue;
    const directory = path.join(run, name);
    const manifest = await readManifest(directory).catch((error: unknown) => {
      if (error instanceof TesseraeError) return error;
      throw error;
    });
    found.push({ directory, step: Number(step), manifest });
  }
  return found.sort((a, b) => compareManifests(a.manifest, b.manifest) || b.step - a.step);
}

/** One that can't be read may be of the latest save: it comes first, so that it is noticed. */
function compareManifests(a: Candidate['manifest'], b: Candidate['manifest']): number {
  if (a instanceof TesseraeError || b instanceof TesseraeError)
    return Number(b instanceof TesseraeError) - Number(a instanceof TesseraeError);
  return compareSaves(a, b);
}

/** The number of the next save into the folder of a run: one above all that its checkpoints have. */
export async function nextSave(run: string): Promise<number> {
  const numbers = (await checkpointsOf(run)).map(({ manifest }) =>
    manifest instanceof TesseraeError || manifest.version === 1 ? 0 : manifest.save,
  );
  return numbers.reduce((a, b) => Math.max(a, b), 0) + 1;
}

/** What is in a folder; nothing when it isn't there. */
async function entries(directory: string): Promise<string[]> {
  try {
    return await files.readdir(directory);
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return [];
    throw readError(directory, cause);
  }
}
