import { stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import { aFunction, filePaths } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { startDataThread } from './data_thread';
import { TOKENIZER_JSON } from './json_tokenizer';
import { aTokenizer, type Tokenizer } from './tokenizer';
import {
  checkSameTokenizer,
  identityOf,
  tokenizerNamed,
  TOKENIZER_NAMES,
  type TokenizerIdentity,
} from './tokenizers';
import { MOST_VOCABULARY, readDescription, TOKEN_DTYPES, type TokenDtype } from './tokens/format';
import type { OpenedTokens } from './tokens/token_source';
import type { DataWorker } from './worker';
import { workerData, type TokenData } from './worker_dataset';

/** Names of the token files in a folder of `tesserae prepare`. */
export const TRAIN_FILE = 'train.bin';
export const VALIDATION_FILE = 'val.bin';

/** How token files become rows. */
export interface OpenTokensOptions {
  /** Tokens per row: at most the nPositions of the model. */
  readonly blockSize: number;
  /** Token files to validate on. Default: the `val.bin` of an opened folder, if it has one. */
  readonly validation?: string | readonly string[];
  /**
   * Share of the tokens to keep for validation, from their end, in [0, 0.9]. Default 0.1; 0 if there are files to validate on,
   * or if you open a folder.
   */
  readonly validationFraction?: number;
  /** Type of the ids in a file without a header and without a JSON file. Default uint16. */
  readonly dtype?: TokenDtype;
  /** All ids are below it. For files without a JSON file. Default: the vocabulary size of the tokenizer. */
  readonly vocabSize?: number;
  /** The tokenizer that made the ids. For files without a JSON file, or whose tokenizer.json is elsewhere. */
  readonly tokenizer?: Tokenizer;
  /** Whether to read whole files once and verify their SHA-256. Default false. */
  readonly verify?: boolean;
  /** Called with the progress of reading a whole file, in bytes, at most ten times a second. */
  readonly onProgress?: (done: number, total: number) => void;
}

const optionsSchema = z.strictObject({
  blockSize: z
    .int()
    .min(1)
    .max(2 ** 20),
  validation: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  validationFraction: z.number().min(0).max(0.9).optional(),
  dtype: z.enum(TOKEN_DTYPES).optional(),
  vocabSize: z.int().min(1).max(MOST_VOCABULARY).optional(),
  verify: z.boolean().default(false),
  tokenizer: aTokenizer.optional(),
  onProgress: aFunction<NonNullable<OpenTokensOptions['onProgress']>>().optional(),
});

/**
 * Opens token files of any size for training: nanoGPT's layout (only ids) or llm.c's (a header, then ids), uint16 or uint32.
 * A worker thread draws the batches and reads only what they need: `train` gives random crops, `validation` windows that do
 * not overlap. Several files are joined in the given order.
 *
 * A JSON file next to a token file (`train.json` for `train.bin`, as written by `tesserae prepare`) describes it. A file
 * without one is read once as a whole to check its ids. Ids are checked again whenever they are read.
 *
 * @param paths - token files, or a folder that `tesserae prepare` made.
 * @throws TesseraeError `ERR_DATA` for a file that is missing, damaged, truncated, has an id outside the vocabulary (with its
 * offset), or is too short for one row; `ERR_CONFIG` for a wrong option, `ERR_DEVICE` if no thread can be started.
 *
 * @example
 * const data = await openTokens('data/book', { blockSize: 1024 });
 * const foreign = await openTokens('fineweb_train_000001.bin', { blockSize: 1024, vocabSize: 50257 });
 */
export async function openTokens(
  paths: string | readonly string[],
  options: OpenTokensOptions,
): Promise<TokenData> {
  const list = [parseConfig(filePaths, paths, { at: 'paths' })].flat();
  const {
    tokenizer: given,
    onProgress,
    blockSize,
    verify,
    dtype,
    vocabSize,
    ...parts
  } = parseConfig(optionsSchema, options);
  const files = await tokenFiles(list, parts);
  const client = startDataThread<DataWorker>('worker');
  try {
    const opened = await client.remote.openTokens(
      {
        ...{ ...files, blockSize, verify, dtype, vocabSize: vocabSize ?? given?.vocabSize },
        tokenizer: given && identityOf(given),
      },
      onProgress,
    );
    const [first = ''] = files.train;
    const tokenizer = await tokenizerOf(opened, given, first);
    return workerData(client, { ...opened, blockSize, tokenizer });
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** The files of each part. */
interface TokenPaths {
  readonly train: readonly string[];
  readonly validation?: readonly string[] | undefined;
  readonly validationFraction: number;
}

/** Replaces a folder by the token files that `tesserae prepare` made in it. */
async function tokenFiles(
  paths: readonly string[],
  given: { validation?: string | string[] | undefined; validationFraction?: number | undefined },
): Promise<TokenPaths> {
  const [folder = ''] = paths;
  const isFolder = paths.length === 1 && (await is(folder, 'isDirectory'));
  const beside = path.join(folder, VALIDATION_FILE);
  const own = isFolder && (await is(beside, 'isFile')) ? [beside] : undefined;
  const validation = typeof given.validation === 'string' ? [given.validation] : (given.validation ?? own);
  if (validation && given.validationFraction !== undefined && given.validationFraction > 0)
    throw new TesseraeError(
      'ERR_CONFIG',
      `validationFraction ${given.validationFraction} has no effect with the validation file '${validation[0]}': leave it out`,
      { details: { path: 'validationFraction' } },
    );
  return {
    train: isFolder ? [path.join(folder, TRAIN_FILE)] : paths,
    validation,
    validationFraction: given.validationFraction ?? (isFolder || validation ? 0 : 0.1),
  };
}

const is = (file: string, kind: 'isFile' | 'isDirectory'): Promise<boolean> =>
  stat(file).then(
    (found) => found[kind](),
    () => false,
  );

/** The given tokenizer, or the one that the description of a token file names. */
async function tokenizerOf(
  { tokenizer: named, vocabSize }: OpenedTokens,
  given: Tokenizer | undefined,
  file: string,
): Promise<Tokenizer | undefined> {
  const tokenizer = given ?? (named && (await besideTokens(named, file)));
  if (tokenizer && named) checkSameTokenizer(tokenizer, named, file);
  if (tokenizer && tokenizer.vocabSize !== vocabSize)
    throw new TesseraeError(
      'ERR_DATA',
      `the token file '${file}' has a vocabulary of ${vocabSize} tokens, but the tokenizer has ${tokenizer.vocabSize}: give the ` +
        'tokenizer it was made with',
      { details: { path: file } },
    );
  return tokenizer;
}

async function besideTokens({ name }: TokenizerIdentity, file: string): Promise<Tokenizer> {
  const tokenizer = await tokenizerNamed(name, path.join(path.dirname(file), TOKENIZER_JSON));
  if (tokenizer) return tokenizer;
  throw new TesseraeError(
    'ERR_DATA',
    `the token file '${file}' was made with the tokenizer '${name}', but this release has only ${TOKENIZER_NAMES.join(', ')}`,
    { details: { path: file } },
  );
}

/** The vocabulary size of a token file or folder, if a JSON file describes it. */
export async function describedVocabSize(file: string): Promise<number | undefined> {
  const described = (await is(file, 'isDirectory')) ? path.join(file, TRAIN_FILE) : file;
  return (await readDescription(described))?.vocabSize;
}
