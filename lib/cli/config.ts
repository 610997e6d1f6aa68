import { existsSync } from 'node:fs';
import path from 'node:path';
import type { z } from 'zod';
import { CONFIG, findCheckpoint } from '../checkpoint/checkpoint';
import { readConfig } from '../checkpoint/config_file';
import { ByteTokenizer } from '../data/byte_tokenizer';
import type { OpenSequencesOptions } from '../data/sequences/sequences';
import { openTokenizer } from '../data/tokenizers';
import { describedVocabSize } from '../data/tokens';
import type { TokenDtype } from '../data/tokens/format';
import { TesseraeError } from '../errors';
import { resolveModelConfig, tokenSettings, type ResolvedModelConfig } from '../models/families';
import { parseConfig, withoutUndefined } from '../models/validation';
import type { Padding } from '../native';
import type { TrainingArguments } from '../training/arguments';
import { readJson } from './json_file';
import { dataSchema, runSchema, samplingSchema } from './run_configuration';

/** What to sample, with every default filled in. */
export type SamplingConfig = z.output<typeof samplingSchema>;

/** Text files to train on. */
export interface TextRun {
  readonly text: readonly string[];
  readonly validationFraction?: number;
}

/** Token files to train on. */
export interface TokensRun {
  readonly tokens: readonly string[];
  readonly validation?: readonly string[];
  readonly validationFraction?: number;
  readonly dtype?: TokenDtype;
  /** `byte`, or the path of a tokenizer.json. */
  readonly tokenizer?: string;
  readonly verify?: boolean;
}

/** Sequences to train on. */
export interface SequencesRun extends Partial<
  Pick<OpenSequencesOptions, 'batching' | 'maxTokens' | 'truncation' | 'validationFraction'>
> {
  readonly sequences: readonly string[];
}

/** What a run trains on. */
export type DataRun = TextRun | TokensRun | SequencesRun;

/** A run, checked, with paths made absolute. */
export interface RunConfig {
  readonly model: ResolvedModelConfig;
  /** The checkpoint that the model comes from; absent for one that starts with random weights. */
  readonly initFrom?: string;
  readonly data?: DataRun;
  readonly training?: TrainingArguments;
  readonly padding?: Padding;
  readonly sampling: SamplingConfig;
}

/** A run that can be trained. */
export type TrainableRun = RunConfig & Required<Pick<RunConfig, 'data' | 'training'>>;

/**
 * Reads a run's configuration.
 *
 * @param file - a JSON file; paths in it are relative to its folder.
 * @param overrides - values of `training` that override the file's.
 * @throws TesseraeError `ERR_CONFIG`, naming the file and the path in it; `ERR_CHECKPOINT` if `initFrom` is not a checkpoint.
 */
export async function readRunConfig(
  file: string,
  overrides: Record<string, unknown> = {},
): Promise<RunConfig> {
  const json = await readJson(file);
  try {
    const folder = path.dirname(path.resolve(file));
    return await resolveRun(await withVocabulary(json, folder), folder, overrides);
  } catch (error) {
    if (error instanceof TesseraeError && error.code === 'ERR_CONFIG')
      throw new TesseraeError('ERR_CONFIG', `${file}: ${error.message}`, {
        details: { file, ...error.details },
        cause: error,
      });
    throw error;
  }
}

/**
 * Like readRunConfig, for a run to train: `data` and `training` are required, and outputDir defaults to
 * `runs/<name of the file>` next to the file.
 */
export async function readTrainableRun(
  file: string,
  overrides: Record<string, unknown>,
): Promise<TrainableRun & { readonly training: { readonly outputDir: string } }> {
  const { data, training, ...rest } = await readRunConfig(file, overrides);
  const missing = (section: string, example: string): never => {
    throw new TesseraeError('ERR_CONFIG', `${file}: ${section} is missing: add it, such as ${example}`, {
      details: { file, path: section },
    });
  };
  if (!data) return missing('data', '"data": { "text": "book.txt" }');
  if (!training) return missing('training', '"training": { "maxSteps": 1000 }');
  if (tokenSettings(rest.model)?.isEncoder && !('sequences' in data))
    throw new TesseraeError(
      'ERR_CONFIG',
      `${file}: model.isEncoder true does not work with text, because an encoder sees the next token that it should ` +
        'predict: remove it, or train on data.sequences with targets',
      { details: { file, path: 'model.isEncoder' } },
    );
  const name = path.basename(file).replace(/\.json$/, '');
  const outputDir = training.outputDir ?? path.join(path.dirname(path.resolve(file)), 'runs', name);
  return { ...rest, data, training: { ...training, outputDir } };
}

async function resolveRun(
  json: unknown,
  folder: string,
  overrides: Record<string, unknown>,
): Promise<RunConfig> {
  const given = parseConfig(runSchema, withTraining(json, overrides), {
    whole: 'the configuration',
  });
  const { training } = given;
  const absolute = (name: string): string => path.resolve(folder, name);
  return {
    ...(await resolveModel(given, absolute)),
    ...(given.data ? { data: resolveData(given.data, folder) } : {}),
    ...(training
      ? {
          training: {
            ...withoutUndefined(training),
            ...(training.outputDir === undefined ? {} : { outputDir: absolute(training.outputDir) }),
          },
        }
      : {}),
    ...(given.padding === undefined ? {} : { padding: given.padding }),
    sampling: given.sampling ?? samplingSchema.parse({}),
  };
}

async function resolveModel(
  { model, initFrom }: z.output<typeof runSchema>,
  absolute: (name: string) => string,
): Promise<Pick<RunConfig, 'model' | 'initFrom'>> {
  const refuse = (message: string): TesseraeError =>
    new TesseraeError('ERR_CONFIG', message, { details: { path: 'model' } });
  if (initFrom !== undefined) {
    if (model)
      throw refuse(
        'both model and initFrom are given: remove one. With initFrom, the checkpoint defines the model',
      );
    const checkpoint = await findCheckpoint(absolute(initFrom));
    return { model: (await readConfig(path.join(checkpoint, CONFIG))).model, initFrom: checkpoint };
  }
  if (!model) throw refuse('model is missing: add its settings, or initFrom with a checkpoint to start from');
  return { model: resolveModelConfig(withoutUndefined(model), 'model') };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function resolveData(data: z.output<typeof dataSchema>, folder: string): DataRun {
  const { text, tokens, sequences, validation, tokenizer, ...rest } = data;
  const all = (given: string | readonly string[]): string[] =>
    (typeof given === 'string' ? [given] : given).map((name) => path.resolve(folder, name));
  if (text !== undefined) return { ...withoutUndefined(rest), text: all(text) };
  if (sequences !== undefined) return { ...withoutUndefined(rest), sequences: all(sequences) };
  return {
    ...withoutUndefined(rest),
    tokens: all(tokens ?? []),
    ...(validation === undefined ? {} : { validation: all(validation) }),
    ...(tokenizer === undefined ? {} : { tokenizer: tokenizerPath(tokenizer, folder) }),
  };
}

const tokenizerPath = (given: string, folder: string): string =>
  given === 'byte' ? given : path.resolve(folder, given);

/** Without model.vocabSize a model gets the vocabulary size of its data; text is read as bytes. */
async function withVocabulary(json: unknown, folder: string): Promise<unknown> {
  if (!isObject(json) || json['data'] === undefined || !isObject(json['model'])) return json;
  if (json['model']['vocabSize'] !== undefined) return json;
  const data = dataSchema.safeParse(json['data']);
  const vocabSize = data.success ? await vocabularyOf(resolveData(data.data, folder)) : undefined;
  return { ...json, model: { vocabSize: vocabSize ?? new ByteTokenizer().vocabSize, ...json['model'] } };
}

async function vocabularyOf(data: DataRun): Promise<number | undefined> {
  if ('text' in data) return undefined;
  if ('sequences' in data)
    throw new TesseraeError(
      'ERR_CONFIG',
      'model.vocabSize is missing: set it, because files of sequences do not say how many ids there are',
      { details: { path: 'model.vocabSize' } },
    );
  const [first = ''] = data.tokens;
  const described = await describedVocabSize(first);
  if (described !== undefined) return described;
  if (data.tokenizer !== undefined) return (await openTokenizer(data.tokenizer)).vocabSize;
  if (!existsSync(first))
    throw new TesseraeError(
      'ERR_DATA',
      `data.tokens '${first}' does not exist: name the folder that tesserae prepare made, or token files`,
      { details: { path: first } },
    );
  throw new TesseraeError(
    'ERR_CONFIG',
    `model.vocabSize is missing, and the token file '${first}' has no JSON file: set it (50257 for GPT-2's tokens), or ` +
      'set data.tokenizer',
    { details: { path: 'model.vocabSize' } },
  );
}

function withTraining(json: unknown, overrides: Record<string, unknown>): unknown {
  if (!isObject(json) || Object.keys(overrides).length === 0) return json;
  const training = json['training'] ?? {};
  return isObject(training) ? { ...json, training: { ...training, ...overrides } } : json;
}
