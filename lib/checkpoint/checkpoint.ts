import { stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { TOKENIZER_JSON } from '../data/json_tokenizer';
import type { SequenceStarts } from '../data/dataset';
import { startsSchema } from '../data/sequences/starts';
import { aTokenizer, type Tokenizer } from '../data/tokenizer';
import { tokenizerIn, TOKENIZER_NAMES, tokenizerNamed } from '../data/tokenizers';
import { requireRowsFor } from '../data/vocabulary_fit';
import { messageOf, TesseraeError } from '../errors';
import { isFile } from '../files/regular_file';
import { buildGraph, tokenSettings } from '../models/families';
import { filePath } from '../models/argument_schemas';
import { aModel, Model, modelOptionsSchema, type ModelOptions } from '../models/model';
import { parseConfig, withoutUndefined } from '../models/validation';
import { writeDirectory } from './atomic_directory';
import { companionsOf, readGeneration, rememberCompanions } from './companions';
import { configText, readConfig } from './config_file';
import { writeText } from './durable_file';
import { files, readError, systemCode } from './files';
import { STORED_DTYPES, type StoredDtype } from './floats';
import { MANIFEST, readManifest, verifyFiles } from './manifest';
import { checkpointsOf } from './run_folder';
import { writeSafetensors } from './safetensors';
import { generationFile, TOKENIZER_FILES, tokenizerFiles } from './tokenizer_files';
import { TRAINER_STATE } from './trainer_state';
import { openWeights, WEIGHTS, weightsFile } from './weight_files';
import { findWeights, loadWeights, weightSources } from './weights';

export { WEIGHTS };
export const CONFIG = 'config.json';
/** The moving average of the weights. */
export const EMA_WEIGHTS = 'model_ema.safetensors';
export const OPTIMIZER = 'optimizer.safetensors';

/** All files that a checkpoint may hold. A folder with other files is never replaced. */
export const CHECKPOINT_FILES: readonly string[] = [
  CONFIG,
  WEIGHTS,
  EMA_WEIGHTS,
  OPTIMIZER,
  ...TOKENIZER_FILES,
  TRAINER_STATE,
  MANIFEST,
];

/** What to save with the model, and how. */
export interface SaveOptions {
  /** The tokenizer of the model. */
  readonly tokenizer?: Tokenizer;
  /** Number of optimizer steps that the model was trained for. */
  readonly step?: number;
  /** How its training sequences begin. */
  readonly trainingStarts?: SequenceStarts;
  /** Type of the stored weights, rounded to nearest. Default 'f32', which keeps every bit. */
  readonly dtype?: StoredDtype;
}

const saveSchema = z.strictObject({
  tokenizer: aTokenizer.optional(),
  step: z.int().min(0).optional(),
  trainingStarts: startsSchema.optional(),
  dtype: z.enum(STORED_DTYPES).default('f32'),
});

/** Files that loadModel does not read, except the weights that you ask for. */
const NOT_LOADED: readonly string[] = [WEIGHTS, EMA_WEIGHTS, OPTIMIZER, TRAINER_STATE];

/** All files that saveModel writes. */
const SAVED_FILES: readonly string[] = [CONFIG, WEIGHTS, ...TOKENIZER_FILES];

/** Which weights to load, and on which device. */
export interface LoadOptions extends ModelOptions {
  /** The trained weights, or their moving average (`emaDecay`). Default 'trained'. */
  readonly weights?: 'trained' | 'ema';
}

const loadSchema = modelOptionsSchema.extend({ weights: z.enum(['trained', 'ema']).default('trained') });

/** A loaded checkpoint. */
export interface LoadedModel {
  /** The model with the requested weights; dispose it when you are done. */
  readonly model: Model;
  /** Its tokenizer; absent if the checkpoint names none. */
  readonly tokenizer?: Tokenizer;
  /** Number of optimizer steps that the model was trained for, if a trainer saved it. */
  readonly step?: number;
  /** How its training sequences begin, if they were opened as sequences, so that prompts can begin the same way. */
  readonly trainingStarts?: SequenceStarts;
  /** The folder of the checkpoint. */
  readonly directory: string;
}

/**
 * Saves a model as a folder of `config.json` and `model.safetensors`, with Hugging Face's names and layouts. Hugging Face's
 * GPT-2 can load it if it computes the same function. Also saves the tokenizer, with the files that transformers reads and
 * those it came with, such as a chat template, and the generation settings that the model was loaded with. The folder is
 * written completely or not at all. It replaces a folder that saveModel wrote, but not a trainer's checkpoint.
 *
 * @param directory - the folder to write. An existing folder with files that saveModel does not write is not replaced.
 * @param options - what to save with the weights, and how.
 * @throws TesseraeError `ERR_CHECKPOINT` if it can't be written, or if `dtype` can't hold a weight, which the message names;
 * `ERR_CONFIG` for an unknown `dtype`, `ERR_BUSY` during another call of the model.
 *
 * @example
 * await saveModel(model, 'published', { tokenizer, dtype: 'bf16' });
 */
export async function saveModel(model: Model, directory: string, options: SaveOptions = {}): Promise<void> {
  parseConfig(aModel, model, { at: 'model' });
  parseConfig(filePath, directory, { at: 'directory' });
  const { tokenizer, step, trainingStarts, dtype } = parseConfig(saveSchema, options);
  const companions = companionsOf(model);
  const config = configText(
    {
      model: model.config,
      ...(tokenizer ? { tokenizer: tokenizer.name } : {}),
      ...(step === undefined ? {} : { step }),
      ...(trainingStarts ? { trainingStarts } : {}),
      others: companions.config,
    },
    dtype,
  );
  await writeDirectory(directory, SAVED_FILES, async (temporary) => {
    await writeSafetensors(path.join(temporary, WEIGHTS), weightSources(model), dtype);
    for (const [name, text] of [
      ...(tokenizer?.json === undefined ? [] : tokenizerFiles(tokenizer, model.tokens('a tokenizer'))),
      ...(tokenizer || companions.generation
        ? [generationFile(tokenizer, model.tokens('a tokenizer'), companions)]
        : []),
    ])
      await writeText(path.join(temporary, name), text);
    await writeText(path.join(temporary, CONFIG), config);
  });
}

/**
 * Loads a checkpoint of this library or of Hugging Face's GPT-2: safetensors in one file, or in several with an index, stored
 * in F32, F16 or BF16, with the names of GPT2LMHeadModel or GPT2Model. The tokenizer is a tokenizer.json, or a vocab.json with
 * its merges.txt; the files next to it give the roles of its tokens. Other settings for transformers, such as generation
 * settings, are kept, and saveModel and trainers write them again with the model.
 *
 * @param directory - the checkpoint, or the folder of a run, whose latest `checkpoint-<step>` is used.
 * @param options - which weights to load, and the options of `Model.create`.
 * @throws TesseraeError `ERR_CHECKPOINT` if it is missing, damaged or does not fit its configuration, `ERR_CONFIG` for a model
 * that is not supported or has fewer rows than its tokenizer has tokens, and the errors of `Model.create`.
 *
 * @example
 * const { model, tokenizer } = await loadModel('runs/book');
 */
export async function loadModel(directory: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const { weights, ...where } = parseConfig(loadSchema, options);
  const found = await findCheckpoint(directory);
  const name = await fileOf(weights, found);
  if (await isFile(path.join(found, MANIFEST))) {
    const manifest = await readManifest(found);
    const read = path.basename(name);
    // All that may be read here; what is left out takes as long again, and is for trainers.
    const names = Object.keys(manifest.files).filter((file) => !NOT_LOADED.includes(file) && file !== read);
    await verifyFiles(found, manifest, [...names, read]);
  }
  const config = await readConfig(path.join(found, CONFIG));
  const companions = { config: config.others ?? {}, generation: await readGeneration(found) };
  const tokenizer = await savedTokenizer(found, config.tokenizer);
  const file = await openWeights(name);
  try {
    // Before memory is taken for what config.json merely says.
    findWeights(buildGraph(config.model), file, name);
    // Bytes are tokens for which a model may have no use, such as those beyond ASCII.
    const tokens = tokenSettings(config.model);
    if (tokens && tokenizer?.json !== undefined) requireRowsFor(tokenizer, tokens.vocabSize, `'${found}'`);
    const model = await Model.create(config.model, withoutUndefined(where) as ModelOptions);
    try {
      await loadWeights(model, file, name);
    } catch (error) {
      model.dispose();
      throw error;
    }
    rememberCompanions(model, companions);
    return {
      model,
      directory: found,
      ...(tokenizer ? { tokenizer } : {}),
      ...(config.step === undefined ? {} : { step: config.step }),
      ...(config.trainingStarts === undefined ? {} : { trainingStarts: config.trainingStarts }),
    };
  } finally {
    await file.close();
  }
}

/** The tokenizer that a checkpoint names, or has as a file; undefined if there is none. */
async function savedTokenizer(directory: string, name: string | undefined): Promise<Tokenizer | undefined> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new TesseraeError('ERR_CHECKPOINT', why, { details: { directory }, cause });
  };
  const file = path.join(directory, TOKENIZER_JSON);
  const opening = name === undefined ? tokenizerIn(directory) : tokenizerNamed(name, file);
  const tokenizer = await opening.catch((cause: unknown) => refuse(messageOf(cause), cause));
  if (tokenizer || name === undefined) return tokenizer;
  const names = TOKENIZER_NAMES.join(', ');
  return refuse(`'${directory}' needs the tokenizer '${name}'; this release has ${names}`);
}

async function fileOf(weights: 'trained' | 'ema', directory: string): Promise<string> {
  if (weights === 'trained') return (await weightsFile(directory)) ?? path.join(directory, WEIGHTS);
  const file = path.join(directory, EMA_WEIGHTS);
  if (await isFile(file)) return file;
  throw new TesseraeError(
    'ERR_CHECKPOINT',
    `'${directory}' has no ${EMA_WEIGHTS}: it was trained without emaDecay. Load the trained weights`,
    { details: { directory } },
  );
}

/**
 * Finds a checkpoint: the folder itself, or the last saved checkpoint in the folder of a run. The numbers in the manifests
 * decide which was saved last, so clocks don't matter, and a later, shorter run into the same folder wins. Checkpoints of
 * other libraries have no manifest, so the times of their files decide.
 *
 * @param directory - a checkpoint, or the outputDir of a run.
 * @returns the folder of the checkpoint; its contents have not been checked.
 * @throws TesseraeError `ERR_CHECKPOINT` if there is none, or if the folder can't be read.
 */
export async function findCheckpoint(directory: string): Promise<string> {
  parseConfig(filePath, directory, { at: 'directory' });
  if (await isCheckpoint(directory)) return directory;
  const names = await files.readdir(directory).catch((cause: unknown): string[] => {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(cause) ?? '')) return [];
    throw readError(directory, cause);
  });
  const others: { directory: string; written: number }[] = [];
  for (const { directory: candidate, manifest } of names.length > 0 ? await checkpointsOf(directory) : []) {
    const weights = await checkpointWeights(candidate);
    if (weights === undefined) continue;
    if (systemCode(manifest) !== 'ENOENT') return candidate;
    others.push({ directory: candidate, written: (await stat(weights)).mtimeMs });
  }
  // Of those without a manifest, which a trainer of ours did not write, only the times of their files tell.
  const [last] = others.sort((a, b) => b.written - a.written);
  if (last) return last.directory;
  const other = names.find((name) => OTHER_WEIGHTS.test(name));
  throw new TesseraeError(
    'ERR_CHECKPOINT',
    other === undefined
      ? `'${directory}' holds no checkpoint: a checkpoint is a folder with ${CONFIG} and ${WEIGHTS}, and the folder of a ` +
          `run has some as checkpoint-<step>`
      : `'${directory}' has its weights in '${other}', but tesserae reads only safetensors. Convert them with Python: ` +
          `from transformers import GPT2LMHeadModel as M; M.from_pretrained('FROM').save_pretrained('TO')`,
    { details: { directory } },
  );
}

/** Weights in formats of other libraries; those of PyTorch's own can run code when they are read. */
const OTHER_WEIGHTS = /\.(bin|pt|pth|ckpt|h5|msgpack|onnx|gguf)$/;

/** Whether a folder is itself a checkpoint, so it contains a model. */
export async function isCheckpoint(directory: string): Promise<boolean> {
  return (await checkpointWeights(directory)) !== undefined;
}

/** The weights file of a checkpoint, or undefined if the folder is not one. */
async function checkpointWeights(directory: string): Promise<string | undefined> {
  return (await isFile(path.join(directory, CONFIG))) ? weightsFile(directory) : undefined;
}
