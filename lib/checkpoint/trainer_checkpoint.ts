import path from 'node:path';
import type { Tokenizer } from '../data/tokenizer';
import type { Model } from '../models/model';
import { writeDirectory } from './atomic_directory';
import { CHECKPOINT_FILES, CONFIG, EMA_WEIGHTS, OPTIMIZER, WEIGHTS } from './checkpoint';
import { configText } from './config_file';
import { writeText, type WrittenFile } from './durable_file';
import { MANIFEST, manifestText } from './manifest';
import { readSafetensors, writeSafetensors, type SafetensorsFile, type TensorSource } from './safetensors';
import { TRAINER_STATE, trainerStateText, type TrainerState } from './trainer_state';
import {
  emaSources,
  loadMoments,
  loadWeights,
  momentSources,
  weightSources,
  type OptimizerTensors,
} from './weights';

/**
 * Saves all that a trainer needs to go on: what saveModel writes, the optimizer's moments, the moving average of the
 * weights and the trainer's state, and last a manifest of them. The folder is complete or not there at all.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when it can't be written, `ERR_BUSY` while the model is at work.
 */
export async function saveTrainerCheckpoint(
  model: Model,
  directory: string,
  {
    state,
    tensors,
    tokenizer,
  }: {
    readonly state: TrainerState;
    readonly tensors: OptimizerTensors;
    readonly tokenizer?: Tokenizer | undefined;
  },
): Promise<void> {
  const config = configText({
    model: model.config,
    step: state.step,
    ...(tokenizer ? { tokenizer: tokenizer.name } : {}),
  });
  await writeDirectory(directory, CHECKPOINT_FILES, async (temporary) => {
    const at = (name: string): string => path.join(temporary, name);
    const tensorFiles = Object.entries(optimizerFiles(model, state.optimizer ? tensors : NONE));
    const files: Record<string, WrittenFile> = {
      [CONFIG]: await writeText(at(CONFIG), config),
      [WEIGHTS]: await writeSafetensors(at(WEIGHTS), weightSources(model)),
      [TRAINER_STATE]: await writeText(at(TRAINER_STATE), trainerStateText(state)),
    };
    for (const [name, sources] of tensorFiles) files[name] = await writeSafetensors(at(name), sources);
    await writeText(at(MANIFEST), manifestText(files));
  });
}

/** Sets the weights of a model to those of a checkpoint. */
export const restoreWeights = (model: Model, directory: string): Promise<void> =>
  reading(path.join(directory, WEIGHTS), (file, name) => loadWeights(model, file, name));

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

/** Before the first step. */
const NONE: OptimizerTensors = { moments: {}, ema: false };

/** The files that hold an optimizer's tensors; one without any is not written. */
const optimizerFiles = (
  model: Model,
  { moments, ema }: OptimizerTensors,
): Record<string, TensorSource[]> => ({
  ...(Object.keys(moments).length > 0 ? { [OPTIMIZER]: momentSources(model, moments) } : {}),
  ...(ema ? { [EMA_WEIGHTS]: emaSources(model) } : {}),
});

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
