import path from 'node:path';
import { TOKENIZER_JSON } from '../data/json_tokenizer';
import type { Tokenizer } from '../data/tokenizer';
import type { Model } from '../models/model';
import { writeDirectory } from './atomic_directory';
import { CHECKPOINT_FILES, CONFIG, OPTIMIZER, WEIGHTS } from './checkpoint';
import { configText } from './config_file';
import { writeText, type WrittenFile } from './durable_file';
import { MANIFEST, manifestText } from './manifest';
import { readSafetensors, writeSafetensors, type SafetensorsFile } from './safetensors';
import { TRAINER_STATE, trainerStateText, type TrainerState } from './trainer_state';
import { loadMoments, loadWeights, momentSources, weightSources } from './weights';

/**
 * Saves all that a trainer needs to go on: what saveModel writes, the optimizer's moments and the trainer's state, and
 * last a manifest of them. The folder is complete or not there at all.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when it can't be written, `ERR_BUSY` while the model is at work.
 */
export async function saveTrainerCheckpoint(
  model: Model,
  directory: string,
  { state, tokenizer }: { readonly state: TrainerState; readonly tokenizer?: Tokenizer | undefined },
): Promise<void> {
  const config = configText({
    model: model.config,
    step: state.step,
    ...(tokenizer ? { tokenizer: tokenizer.name } : {}),
  });
  await writeDirectory(directory, CHECKPOINT_FILES, async (temporary) => {
    const at = (name: string): string => path.join(temporary, name);
    const files: Record<string, WrittenFile> = {
      [CONFIG]: await writeText(at(CONFIG), config),
      [WEIGHTS]: await writeSafetensors(at(WEIGHTS), weightSources(model)),
      ...(state.optimizer
        ? { [OPTIMIZER]: await writeSafetensors(at(OPTIMIZER), momentSources(model)) }
        : {}),
      ...(tokenizer?.json === undefined
        ? {}
        : { [TOKENIZER_JSON]: await writeText(at(TOKENIZER_JSON), tokenizer.json) }),
      [TRAINER_STATE]: await writeText(at(TRAINER_STATE), trainerStateText(state)),
    };
    await writeText(at(MANIFEST), manifestText(files));
  });
}

/** Sets the weights of a model to those of a checkpoint. */
export const restoreWeights = (model: Model, directory: string): Promise<void> =>
  reading(path.join(directory, WEIGHTS), (file, name) => loadWeights(model, file, name));

/** Sets the moments of a model, whose optimizer was set up, to those of a checkpoint. */
export const restoreMoments = (model: Model, directory: string): Promise<void> =>
  reading(path.join(directory, OPTIMIZER), (file, name) => loadMoments(model, file, name));

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
