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
import { restoreKernels } from './saved_kernels';
import { scheduleChange } from './schedule_change';

/** The checkpoint from which a run was resumed. */
export interface ResumeResult {
  /** Folder of the checkpoint. */
  readonly path: string;
  /** Number of steps of training before it. */
  readonly step: number;
  /** The errors of later checkpoints of the run, which were skipped because they are damaged. */
  readonly damaged: readonly TesseraeError[];
  /** Why the run may not continue bit for bit as if it had never stopped; empty if it will. */
  readonly differences: readonly string[];
}

/** Arguments that don't affect what a step learns: when the run ends, how often it reports and saves, and where. */
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

/** What the bits of a step depend on in addition to the checkpoint. */
export function machineOf(model: Model): TrainerState['machine'] {
  const { isa, arithmetic, layoutHash } = model.native.info;
  return { device: model.devices.join(', '), isa, arithmetic, padding: model.padding, layoutHash };
}

/** A complete checkpoint that fits the trainer. */
export interface FoundCheckpoint extends ResumeResult {
  readonly state: TrainerState;
}

/** The properties of a trainer that a checkpoint has to fit. */
export interface ResumingTrainer {
  /** The lock of the run's folder. */
  readonly owner: object;
  readonly model: Model;
  readonly args: ResolvedTrainingArguments;
  /** Fingerprint of the training dataset, if there is one. */
  readonly blockSize: number | undefined;
  readonly order: string | undefined;
}

/**
 * Finds the checkpoint to resume from and compares it with the trainer. Changes nothing, but removes from the run's folder
 * what a crash left there.
 *
 * @param directory - a checkpoint, or the folder of a run.
 * @throws TesseraeError `ERR_CHECKPOINT` if there is no complete checkpoint, or if it has another model, other arguments or
 * other data; `details.differences` names them.
 */
export async function findResumable(directory: string, trainer: ResumingTrainer): Promise<FoundCheckpoint> {
  const { directory: found, damaged } = await locate(directory, trainer);
  const state = await readTrainerState(found);
  const { model } = await readConfig(path.join(found, CONFIG));
  // Only fp16 has loss scaling: another precision resumes without it, and fp16 starts with the given settings.
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
      `'${found}' can't be resumed, because it belongs to another run: ${different.join('; ')}. Resume with the settings it ` +
        'was trained with, or train into another folder',
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

/**
 * Sets model and optimizer to the state in a checkpoint.
 *
 * @returns further differences: kernels of the checkpoint that can't be used here.
 */
export async function restore(
  found: FoundCheckpoint,
  model: Model,
  optimization: Optimization,
): Promise<string[]> {
  const differences = await restoreKernels(model, found.state);
  await restoreWeights(model, found.path);
  const { optimizer, precision } = found.state;
  await optimization.restore(optimizer, {
    lossScaler: precision === model.precision,
    loadTensors: () => restoreOptimizer(model, found.path, optimization.tensors),
  });
  return differences;
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
  // You may read the folder of another run while that runs, but not clean it up.
  using lock = await lockRun(directory, owner).catch((error: unknown) => {
    if (isOwn) throw error;
    return undefined;
  });
  if (lock) await removeLeftovers(directory);
  return latestGoodCheckpoint(directory);
}

const without = (object: object, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));

/** Describes each difference between two sets of plain values; nested values by their path. */
function differences(at: string, saved: object, now: object): string[] {
  const [before, after] = [saved, now] as Record<string, unknown>[];
  const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
  return [...new Set([...Object.keys(saved), ...Object.keys(now)])].sort().flatMap((name) => {
    const [was, is] = [before?.[name], after?.[name]];
    if (was === is) return [];
    if (isObject(was) && isObject(is)) return differences(`${at}${name}.`, was, is);
    return [`${at}${name} was ${show(was)}, but is ${show(is)} now`];
  });
}
