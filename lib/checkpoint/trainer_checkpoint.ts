import { freemem } from 'node:os';
import path from 'node:path';
import type { SequenceStarts } from '../data/dataset';
import type { Tokenizer } from '../data/tokenizer';
import { TesseraeError } from '../errors';
import type { Model } from '../models/model';
import { CHECKPOINT_FILES, CONFIG, EMA_WEIGHTS, OPTIMIZER, WEIGHTS } from './checkpoint';
import { checkpointBytes, type UnwrittenCheckpoint } from './checkpoint_writer';
import { companionsOf, readGeneration, rememberCompanions } from './companions';
import { configText, readConfig } from './config_file';
import type { Rotation } from './run_folder';
import { bytesOf, readSafetensors, type SafetensorsFile, type TensorSource } from './safetensors';
import { generationFile, tokenizerFilesAsRead } from './tokenizer_files';
import { TRAINER_STATE, trainerStateText, type TrainerState } from './trainer_state';
import {
  emaSources,
  loadMoments,
  loadWeights,
  momentSources,
  weightSources,
  type OptimizerTensors,
} from './weights';

/** What a trainer's checkpoint has in addition to the model. */
export interface TrainerCheckpointOptions {
  readonly state: TrainerState;
  /** The moments that the optimizer keeps per parameter. */
  readonly tensors: OptimizerTensors;
  readonly tokenizer?: Tokenizer | undefined;
  /** How the training sequences begin. */
  readonly trainingStarts?: SequenceStarts | undefined;
  readonly rotation?: Rotation | undefined;
}

/**
 * A checkpoint with everything that a trainer needs to resume: the files of saveModel, the optimizer's moments, the moving
 * average of the weights and the trainer's state. Tensors are read from the model when they are written.
 */
export function trainerCheckpoint(
  model: Model,
  directory: string,
  { state, tensors, tokenizer, trainingStarts, rotation }: TrainerCheckpointOptions,
): UnwrittenCheckpoint {
  const companions = companionsOf(model);
  const config = configText({
    model: model.config,
    step: state.step,
    ...(tokenizer ? { tokenizer: tokenizer.name } : {}),
    ...(trainingStarts ? { trainingStarts } : {}),
    others: companions.config,
  });
  return {
    directory,
    names: CHECKPOINT_FILES,
    files: [
      [CONFIG, config],
      [WEIGHTS, weightSources(model)],
      ...(state.optimizer ? optimizerFiles(model, tensors) : []),
      ...(tokenizer ? tokenizerFilesAsRead(tokenizer) : []),
      ...(companions.generation ? [generationFile(tokenizer, model.tokens('a tokenizer'), companions)] : []),
      [TRAINER_STATE, trainerStateText(state)],
    ],
    rotation,
  };
}

/** Bytes of a checkpoint of a model that is trained, about. */
export const expectedBytes = (model: Model, tensors: OptimizerTensors): number =>
  bytesOf([weightSources(model), ...optimizerFiles(model, tensors).map(([, sources]) => sources)].flat());

/**
 * Copies the tensors of a checkpoint to host memory, so that training can continue while it is written. That takes as many
 * bytes as its files; each copy is freed once it is read.
 *
 * @returns undefined if there is not enough free memory: the model must then not change until the checkpoint is written.
 */
export async function snapshot(checkpoint: UnwrittenCheckpoint): Promise<UnwrittenCheckpoint | undefined> {
  if (checkpointBytes(checkpoint) > freeMemory()) return undefined;
  const copies: UnwrittenCheckpoint['files'][number][] = [];
  try {
    for (const [name, contents] of checkpoint.files)
      copies.push([name, typeof contents === 'string' ? contents : await copyOf(contents)]);
  } catch (error) {
    if (error instanceof TesseraeError && error.code === 'ERR_OUT_OF_MEMORY') return undefined;
    throw error;
  }
  return { ...checkpoint, files: copies };
}

async function copyOf(sources: readonly TensorSource[]): Promise<TensorSource[]> {
  const copies: TensorSource[] = [];
  for (const { read, ...source } of sources) {
    let values: Float32Array | undefined = await read();
    const take = (): Promise<Float32Array> => {
      const taken = values;
      values = undefined;
      if (!taken) throw new TesseraeError('ERR_INTERNAL', `'${source.name}' was read twice`);
      return Promise.resolve(taken);
    };
    copies.push({ ...source, read: take });
  }
  return copies;
}

/** Bytes that the process may still take: of the machine, and of what its container may use. */
function freeMemory(): number {
  const limit = process.constrainedMemory() || Infinity;
  return Math.min(freemem(), limit - process.memoryUsage.rss());
}

/** Sets the weights of a model to those of a checkpoint. */
export async function restoreWeights(model: Model, directory: string): Promise<void> {
  await reading(path.join(directory, WEIGHTS), (file, name) => loadWeights(model, file, name));
  const { others: config = {} } = await readConfig(path.join(directory, CONFIG));
  rememberCompanions(model, { config, generation: await readGeneration(directory) });
}

/** Sets the moments and the moving average of a model, whose optimizer was set up, to those of a checkpoint. */
export async function restoreOptimizer(
  model: Model,
  directory: string,
  { moments, ema }: OptimizerTensors,
): Promise<void> {
  if (Object.keys(moments).length > 0)
    await reading(path.join(directory, OPTIMIZER), (file, name) => loadMoments(model, file, name, moments));
  if (ema)
    await reading(path.join(directory, EMA_WEIGHTS), (file, name) => loadWeights(model, file, name, 'ema'));
}

/** The files that hold an optimizer's tensors; one without any is not written. */
const optimizerFiles = (
  model: Model,
  { moments, ema }: OptimizerTensors,
): (readonly [name: string, sources: TensorSource[]])[] => [
  ...(Object.keys(moments).length > 0 ? [[OPTIMIZER, momentSources(model, moments)] as const] : []),
  ...(ema ? [[EMA_WEIGHTS, emaSources(model)] as const] : []),
];

async function reading(
  name: string,
  work: (file: SafetensorsFile, name: string) => Promise<void>,
): Promise<void> {
  const file = await readSafetensors(name);
  try {
    await work(file, name);
  } finally {
    await file.close();
  }
}
