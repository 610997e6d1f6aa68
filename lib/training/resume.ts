import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CONFIG } from '../checkpoint/checkpoint';
import { readConfig } from '../checkpoint/config_file';
import { MANIFEST, readManifest, verifyFiles } from '../checkpoint/manifest';
import { latestGoodCheckpoint, removeLeftovers } from '../checkpoint/run_folder';
import { lockRun } from '../checkpoint/run_lock';
import { restoreOptimizer, restoreWeights } from '../checkpoint/trainer_checkpoint';
import { readTrainerState, type TrainerState } from '../checkpoint/trainer_state';
import { TesseraeError } from '../errors';
import { resolveModelConfig } from '../models/families';
import type { Model } from '../models/model';
import { show } from '../models/validation';
import type { ResolvedTrainingArguments } from './arguments';
import type { Optimization } from './optimization';
import { scheduleChange } from './schedule_change';

/** What a run was resumed from. */
export interface ResumeResult {
  /** Folder of the checkpoint. */
  readonly path: string;
  /** Steps that it was trained for. */
  readonly step: number;
  /** Why later checkpoints of the run were passed over: they are damaged. */
  readonly damaged: readonly TesseraeError[];
  /** Why what follows may not be bit-identical to a run that was never interrupted; empty when it will be. */
  readonly differences: readonly string[];
}

/** Arguments that change nothing of what a step learns: when the run ends, how often it reports and saves, and where. */
const FREE: readonly string[] = [
  'maxSteps',
  'earlyStopping',
  'evalSteps',
  'evalBatches',
  'saveSteps',
  'saveTotalLimit',
  'saveBestLimit',
  'loggingSteps',
  'outputDir',
  'reportTo',
] satisfies (keyof ResolvedTrainingArguments)[];

export const LIBRARY_VERSION = (
  JSON.parse(readFileSync(path.resolve(__dirname, '../../package.json'), 'utf8')) as { version: string }
).version;

/** What the bits of a step depend on beside the checkpoint. */
export function machineOf(model: Model): TrainerState['machine'] {
  const { isa, arithmetic, layoutHash } = model.native.info;
  return { device: model.device, isa, arithmetic, layoutHash };
}

/** A checkpoint that is whole, and fits the trainer. */
export interface FoundCheckpoint extends ResumeResult {
  readonly state: TrainerState;
}

/** What a trainer is, as far as a checkpoint has to fit it. */
export interface ResumingTrainer {
  /** Who locks the folder of the run. */
  readonly owner: object;
  readonly model: Model;
  readonly args: ResolvedTrainingArguments;
  /** Of the training dataset, when there is one. */
  readonly blockSize: number | undefined;
  readonly order: string | undefined;
}

/**
 * Finds what to resume from and compares it with the trainer; nothing is changed but what a crash left in the run's folder.
 *
 * @param directory - a checkpoint, or the folder of a run.
 * @throws TesseraeError `ERR_CHECKPOINT` when there is no whole checkpoint, or it is one of another model, other arguments
 * or other data; `details.differences` names them.
 */
export async function findResumable(directory: string, trainer: ResumingTrainer): Promise<FoundCheckpoint> {
  const { directory: found, damaged } = await locate(directory, trainer);
  const state = await readTrainerState(found);
  const { model } = await readConfig(path.join(found, CONFIG));
  // Only fp16 has loss scaling: another precision is resumed without it, and fp16 begins with what it is given.
  const scaling = state.precision === trainer.model.precision ? [] : ['lossScaling'];
  const free = [...FREE, ...scaling];
  const plan = scheduleChange(state, trainer.args);
  const different = [
    ...differences('model.', resolveModelConfig(model), trainer.model.config),
    ...differences('training.', without(state.arguments, free), without(plan.plain, free)),
    ...(state.step > trainer.args.maxSteps
      ? [`training.maxSteps is ${trainer.args.maxSteps} now, but ${state.step} steps were done`]
      : []),
    ...differences(
      '',
      { seedOfModel: state.modelSeed, blockSize: state.data.blockSize, orderOfData: state.data.order },
      { seedOfModel: trainer.model.native.seed, blockSize: trainer.blockSize, orderOfData: trainer.order },
    ),
  ];
  if (different.length > 0)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `'${found}' cannot be resumed, because it is of another run: ${different.join('; ')}. Resume with what it was ` +
        'trained with, or train into another folder',
      { details: { directory: found, differences: different } },
    );
  return {
    path: found,
    step: state.step,
    damaged,
    differences: [
      ...differences(
        '',
        { ...state.machine, precision: state.precision, library: state.library },
        { ...machineOf(trainer.model), precision: trainer.model.precision, library: LIBRARY_VERSION },
      ),
      ...plan.notice,
    ],
    state,
  };
}

/** Sets model and optimizer to what a checkpoint holds. */
export async function restore(
  found: FoundCheckpoint,
  model: Model,
  optimization: Optimization,
): Promise<void> {
  await restoreWeights(model, found.path);
  const { optimizer, precision } = found.state;
  await optimization.restore(optimizer, {
    lossScaler: precision === model.precision,
    loadTensors: () => restoreOptimizer(model, found.path, optimization.tensors),
  });
}

async function locate(
  directory: string,
  { owner, args }: ResumingTrainer,
): Promise<{ directory: string; damaged: readonly TesseraeError[] }> {
  const isCheckpoint = /^checkpoint-\d+$/.test(path.basename(path.resolve(directory)));
  if (isCheckpoint || existsSync(path.join(directory, MANIFEST))) {
    await verifyFiles(directory, await readManifest(directory));
    return { directory, damaged: [] };
  }
  const { outputDir } = args;
  const isOwn = outputDir !== undefined && path.resolve(directory) === path.resolve(outputDir);
  // The folder of another run may be read while that goes on, but not tidied up.
  using lock = await lockRun(directory, owner).catch((error: unknown) => {
    if (isOwn) throw error;
    return undefined;
  });
  if (lock) await removeLeftovers(directory);
  return latestGoodCheckpoint(directory);
}

const without = (object: object, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));

/** What two sets of plain values differ in, each in words; nested ones by the path of each value. */
function differences(at: string, saved: object, now: object): string[] {
  const [before, after] = [saved, now] as Record<string, unknown>[];
  const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
  return [...new Set([...Object.keys(saved), ...Object.keys(now)])].sort().flatMap((name) => {
    const [was, is] = [before?.[name], after?.[name]];
    if (was === is) return [];
    if (isObject(was) && isObject(is)) return differences(`${at}${name}.`, was, is);
    return [`${at}${name} was ${show(was)}, and is ${show(is)} now`];
  });
}
