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

/** A folder `checkpoint-<step>` of a run, complete or not. */
export interface Candidate {
  readonly directory: string;
  readonly step: number;
  /** Why its manifest can't be read, or the manifest. */
  readonly manifest: Manifest | TesseraeError;
}

/** The folder of a checkpoint in the folder of its run. */
export const checkpointFolder = (run: string, step: number): string => path.join(run, `checkpoint-${step}`);

/** Whether a folder holds any `checkpoint-<step>`, complete or not. */
export async function hasCheckpoints(run: string): Promise<boolean> {
  return (await checkpointsOf(run)).length > 0;
}

/**
 * The last saved checkpoint of a run that is complete: each file has the size and the SHA-256 in the manifest. No file points
 * to it, so no pointer can be wrong.
 *
 * @returns its folder, and the errors of later ones, which were skipped.
 * @throws TesseraeError `ERR_CHECKPOINT` if there is none (`details.damaged` says why not), or if a later one can't be read.
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
          'start over',
    { details: { directory: run, damaged: damaged.map(({ message }) => message) } },
  );
}

/** The last complete checkpoints of a run, at most `most`, like latestGoodCheckpoint. */
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
      // Don't skip one that may be complete: a run that resumes from an earlier one would overwrite it.
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
  /** Number of optimizer steps before it. */
  readonly step: number;
  /** When it was written; absent if its manifest can't be read. */
  readonly saved?: Date;
  /** Bytes of its files by the manifest; absent if the manifest can't be read. */
  readonly bytes?: number;
  /** Mean loss per target in the evaluation at this step, in nats; absent if there was none. */
  readonly evaluationLoss?: number;
  /** Whether a file `pinned` keeps it from being removed. */
  readonly pinned: boolean;
  /** Why it can't be resumed: a file is missing, can't be read or has the wrong size. */
  readonly damaged?: TesseraeError;
}

/**
 * Lists the checkpoints of a run, last written first, independent of the clock. Compares the sizes of all files with the
 * manifest, but the contents only of the trainer's state: `Trainer.resume` and `loadModel` check the rest.
 *
 * @param run - the outputDir of a run; a missing folder has no checkpoints.
 * @throws TesseraeError `ERR_CHECKPOINT` if the folder can't be read.
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

/** How many checkpoints of a run to keep. */
export interface Rotation {
  /** Folder of the run. */
  readonly run: string;
  /** Number of newest checkpoints to keep. */
  readonly limit: number;
  /** Number of checkpoints with the lowest evaluation loss to keep in addition. */
  readonly bestLimit: number;
}

/**
 * Removes the oldest checkpoints of a run. It keeps the `limit` newest, the `bestLimit` with the lowest evaluation loss, and
 * pinned ones, which don't count. It first reads back the checkpoint just saved, and removes nothing until that is known to
 * be complete. Incomplete checkpoints don't count and stay too.
 *
 * @param saved - the checkpoint just saved, which always stays.
 * @throws TesseraeError `ERR_CHECKPOINT` if it is damaged, or if another can't be removed.
 */
export async function rotateCheckpoints({ run, limit, bestLimit }: Rotation, saved: string): Promise<void> {
  await verifyFiles(saved, await readManifest(saved));
  const whole = (await listCheckpoints(run))
    .filter(({ damaged, pinned }) => !damaged && !pinned)
    .map(({ directory, evaluationLoss = Infinity }) => ({ directory, loss: evaluationLoss }));
  const isSaved = ({ directory }: { directory: string }): boolean =>
    path.resolve(directory) === path.resolve(saved);
  const inOrder = [...whole.filter(isSaved), ...whole.filter((one) => !isSaved(one))];
  // Of equally good ones keep the oldest, so that the best does not change with every save.
  const best = whole
    .filter(({ loss }) => loss < Infinity)
    .reverse()
    .sort((a, b) => a.loss - b.loss)
    .slice(0, bestLimit);
  for (const one of inOrder.slice(limit)) if (!best.includes(one)) await remove(one.directory, saved);
}

/** Renames it first, so that a crash can't leave half of it under its name. */
async function remove(directory: string, saved: string): Promise<void> {
  const trash = temporaryPath(directory, 'trash');
  try {
    await files.rename(directory, trash);
    await syncDirectory(path.dirname(directory));
    await files.remove(trash);
  } catch (cause) {
    throw fileError(directory, `can't be removed, though '${saved}' was saved`, cause);
  }
}

/**
 * Cleans up after unfinished saves: restores a checkpoint that was moved aside for one that was never completed, and removes
 * the rest, except files that another live process is writing. The caller must hold the run's lock.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` if it fails.
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
      throw fileError(leftover, "was left by a crash, and can't be removed", cause);
    }
  }
}

/** What a run will write, as known before it starts. */
export interface ExpectedCheckpoints {
  /** Bytes of one. */
  readonly bytes: number;
  /** Number of checkpoints to write. */
  readonly count: number;
  /** Number of checkpoints to keep. Default: all. */
  readonly rotation?: Rotation | undefined;
}

/**
 * Prepares the folder of a run before its first step: creates it, cleans it up, tests that it is writable, and checks the
 * free space on the disk.
 *
 * @returns warnings: the disk has space for one checkpoint, but not for all that will exist at a time.
 * @throws TesseraeError `ERR_CHECKPOINT` if it is not writable, or if not even one checkpoint fits.
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
    throw fileError(run, "can't hold a run's checkpoints", cause);
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
    `${space} the next ${more} checkpoints take ${formatBytes(bytes * more)}, ${formatBytes(bytes)} each: free ` +
    `${formatBytes(bytes * more - free)}, or set a lower saveTotalLimit`
  );
}

/** The checkpoints of a run, complete or not, last saved first. */
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

/** An unreadable one may be the latest save, so it comes first and is noticed. */
function compareManifests(a: Candidate['manifest'], b: Candidate['manifest']): number {
  if (a instanceof TesseraeError || b instanceof TesseraeError)
    return Number(b instanceof TesseraeError) - Number(a instanceof TesseraeError);
  return compareSaves(a, b);
}

/** The number of the next save into the folder of a run: one more than the highest of its checkpoints. */
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
