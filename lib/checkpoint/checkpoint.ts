import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { TOKENIZER_JSON } from '../data/json_tokenizer';
import type { SequenceStarts } from '../data/dataset';
import type { Tokenizer } from '../data/tokenizer';
import { TOKENIZER_NAMES, tokenizerNamed } from '../data/tokenizers';
import { TesseraeError } from '../errors';
import { Model, type ModelOptions } from '../models/model';
import { writeDirectory } from './atomic_directory';
import { configText, readConfig } from './config_file';
import { writeText } from './durable_file';
import { messageOf } from './files';
import { MANIFEST, readManifest, verifyFiles } from './manifest';
import { bytesOf, readSafetensors, writeSafetensors } from './safetensors';
import { TRAINER_STATE } from './trainer_state';
import { loadWeights, weightSources } from './weights';

export const CONFIG = 'config.json';
export const WEIGHTS = 'model.safetensors';
export const OPTIMIZER = 'optimizer.safetensors';

/** All that a checkpoint may hold: a folder with anything else is not replaced by one. */
export const CHECKPOINT_FILES: readonly string[] = [
  CONFIG,
  WEIGHTS,
  OPTIMIZER,
  TOKENIZER_JSON,
  TRAINER_STATE,
  MANIFEST,
];

/** What is saved beside the model. */
export interface SaveOptions {
  /** How text became token ids. */
  readonly tokenizer?: Tokenizer;
  /** Optimizer steps that the model was trained for. */
  readonly step?: number;
}

/** What a checkpoint holds. */
export interface LoadedModel {
  readonly model: Model;
  /** Absent when the checkpoint names none. */
  readonly tokenizer?: Tokenizer;
  /** Optimizer steps that the model was trained for, when a trainer saved it. */
  readonly step?: number;
  /** How the sequences that it was trained on begin, when they were opened as sequences: what a prompt should look like. */
  readonly trainingStarts?: SequenceStarts;
  /** The folder that was read. */
  readonly directory: string;
}

/**
 * Saves a model as a folder of `config.json` and `model.safetensors`, with Hugging Face's names and layouts: its GPT-2
 * loads it, where it computes the same function. The folder is complete or not there at all; an earlier checkpoint of
 * that name is replaced.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when it can't be written, `ERR_BUSY` while the model is at work.
 */
export async function saveModel(model: Model, directory: string, options: SaveOptions = {}): Promise<void> {
  const { tokenizer, step } = options;
  const config = configText({
    model: model.config,
    ...(tokenizer ? { tokenizer: tokenizer.name } : {}),
    ...(step === undefined ? {} : { step }),
  });
  const sources = weightSources(model);
  await writeDirectory(directory, {
    names: CHECKPOINT_FILES,
    bytes: bytesOf(sources),
    write: async (temporary) => {
      await writeSafetensors(path.join(temporary, WEIGHTS), sources);
      if (tokenizer?.json !== undefined)
        await writeText(path.join(temporary, TOKENIZER_JSON), tokenizer.json);
      await writeText(path.join(temporary, CONFIG), config);
    },
  });
}

/**
 * Loads a checkpoint of this library or of Hugging Face's GPT-2 (F32 safetensors).
 *
 * @param directory - the checkpoint, or the folder of a run: then its last `checkpoint-<step>` is taken.
 * @throws TesseraeError `ERR_CHECKPOINT` when it is missing, damaged or does not fit its configuration, and what
 * `Model.create` throws.
 *
 * @example
 * const { model, tokenizer } = await loadModel('runs/book');
 */
export async function loadModel(directory: string, options: ModelOptions = {}): Promise<LoadedModel> {
  const found = await findCheckpoint(directory);
  if (await isFile(path.join(found, MANIFEST))) {
    const manifest = await readManifest(found);
    const names = [CONFIG, WEIGHTS, ...(TOKENIZER_JSON in manifest.files ? [TOKENIZER_JSON] : [])];
    await verifyFiles(found, manifest, names);
  }
  const config = await readConfig(path.join(found, CONFIG));
  const tokenizer = await savedTokenizer(found, config.tokenizer);
  const file = await readSafetensors(path.join(found, WEIGHTS));
  try {
    const model = await Model.create(config.model, options);
    try {
      await loadWeights(model, file, path.join(found, WEIGHTS));
    } catch (error) {
      model.dispose();
      throw error;
    }
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

/** The tokenizer that a checkpoint names, or has as a file; undefined when there is none. */
async function savedTokenizer(directory: string, name: string | undefined): Promise<Tokenizer | undefined> {
  const file = path.join(directory, TOKENIZER_JSON);
  const wanted = name ?? ((await isFile(file)) ? TOKENIZER_JSON : undefined);
  if (wanted === undefined) return undefined;
  const refuse = (why: string, cause?: unknown): never => {
    throw new TesseraeError('ERR_CHECKPOINT', why, { details: { directory }, cause });
  };
  const tokenizer = await tokenizerNamed(wanted, file).catch((cause: unknown) =>
    refuse(messageOf(cause), cause),
  );
  const names = TOKENIZER_NAMES.join(', ');
  return tokenizer ?? refuse(`'${directory}' needs the tokenizer '${wanted}'; this release has ${names}`);
}

/**
 * The checkpoint that a folder is, or the one written last of those that the folder of a run holds: a shorter run into
 * the same folder counts, whatever an earlier one left.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when there is none.
 */
export async function findCheckpoint(directory: string): Promise<string> {
  if (await isCheckpoint(directory)) return directory;
  const names = await readdir(directory).catch(() => []);
  const found: { candidate: string; written: number; step: number }[] = [];
  for (const name of names) {
    const step = /^checkpoint-(\d{1,15})$/.exec(name)?.[1];
    const candidate = path.join(directory, name);
    if (step === undefined || !(await isCheckpoint(candidate))) continue;
    const { mtimeMs } = await stat(path.join(candidate, WEIGHTS));
    found.push({ candidate, written: mtimeMs, step: Number(step) });
  }
  const [last] = found.sort((a, b) => b.written - a.written || b.step - a.step);
  if (last) return last.candidate;
  throw new TesseraeError(
    'ERR_CHECKPOINT',
    `'${directory}' holds no checkpoint: a checkpoint is a folder with ${CONFIG} and ${WEIGHTS}, and the folder of a ` +
      `run has some as checkpoint-<step>`,
    { details: { directory } },
  );
}

async function isCheckpoint(directory: string): Promise<boolean> {
  return (await isFile(path.join(directory, CONFIG))) && (await isFile(path.join(directory, WEIGHTS)));
}

async function isFile(name: string): Promise<boolean> {
  return stat(name).then(
    (found) => found.isFile(),
    () => false,
  );
}
