import { availableParallelism } from 'node:os';
import path from 'node:path';
import { writeFile } from 'node:fs/promises';
import { exhaustedError, TesseraeError } from '../../errors';
import { retried } from '../../files/retried';
import { withoutUndefined } from '../../models/validation';
import type { ThreadClient } from '../../threads/client';
import { startDataThread } from '../data_thread';
import { encoderOf, JsonTokenizer, TOKENIZER_JSON } from '../json_tokenizer';
import type { PrepareWorker } from '../prepare_worker';
import type { Tokenizer } from '../tokenizer';
import { SIDE_FILES } from '../tokenizer_folder';
import { identityOf, openTokenizer } from '../tokenizers';
import { TRAIN_FILE, VALIDATION_FILE } from '../tokens';
import {
  descriptionPath,
  descriptionText,
  MOST_VOCABULARY,
  type TokenDescription,
  type TokenDtype,
  type TokenFormat,
} from '../tokens/format';
import { TokenWriter } from '../tokens/token_writer';
import type { EncodedSegment, EncodingOptions } from './encode';
import { listInputs } from './inputs';
import { segmentsOf, type Segment } from './segments';

/** All files that prepareTokens may write. */
export const PREPARED_FILES: readonly string[] = [
  ...[TRAIN_FILE, VALIDATION_FILE].flatMap((name) => [name, descriptionPath(name)]),
  TOKENIZER_JSON,
  ...SIDE_FILES,
];

/**
 * Most reader threads with a tokenizer.json: its library has one thread per processor, and one reader feeds several. More
 * would leave none of the four threads of Node's pool to write the files.
 */
const MOST_READERS = 2;

/** Segments to queue per worker before the first is written, so that it need not wait. */
const AHEAD = 2;

export interface PrepareOptions {
  /** Text files, files of JSON lines, and folders of them. */
  readonly inputs: readonly string[];
  /** Names of the inputs in the description. */
  readonly inputNames: readonly string[];
  /** `byte`, or the path of a tokenizer.json, of a vocab.json with its merges.txt, or of a folder with either. */
  readonly tokenizer: string;
  /** The token after each document: its text or its id. Default: the one that the tokenizer's files name. */
  readonly endOfTextToken?: string | number | undefined;
  /** The token that starts a sampled text: its text or its id. Default: the one that the tokenizer's files name. */
  readonly startToken?: string | number | undefined;
  readonly format: TokenFormat;
  /** Default: uint16 if the vocabulary fits, else uint32. */
  readonly dtype?: TokenDtype | undefined;
  /** Share of the inputs' bytes to keep for validation, from their end, in [0, 0.9]. */
  readonly validationFraction: number;
  /** The key of the text in JSON lines. */
  readonly textKey: string;
  /**
   * Number of threads that read and tokenize, at most two with a tokenizer.json. The result does not depend on it. Default:
   * one per processor.
   */
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal;
  /** Called with the number of bytes done. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** The result of prepareTokens. */
export interface PreparedTokens {
  readonly train: TokenDescription;
  readonly validation?: TokenDescription;
}

type Parts = Partial<Record<Segment['part'], Part>>;

interface Part {
  readonly writer: TokenWriter;
  documents: number;
}

/**
 * Tokenizes inputs into token files in an existing empty folder, in worker threads, in input order. When it resolves, its
 * files are on the disk, but perhaps not the folder's own entry.
 *
 * @throws TesseraeError `ERR_DATA` for inputs and tokenizers that can't be read, with path, line and offset; `ERR_CONFIG` for
 * a dtype too small for the vocabulary. Also throws the reason of `signal`, and system errors if it can't write.
 */
export async function prepareTokens(folder: string, options: PrepareOptions): Promise<PreparedTokens> {
  const { format, validationFraction, signal } = options;
  const { endOfTextToken, startToken } = options;
  const tokenizer = await openTokenizer(options.tokenizer, withoutUndefined({ endOfTextToken, startToken }));
  const { json, files: side = {} } = tokenizer;
  const dtype = dtypeFor(tokenizer, options.dtype);
  const files = await listInputs(options.inputs);
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const most = tokenizer.json === undefined ? availableParallelism() : MOST_READERS;
  const asked = Math.min(options.workers ?? most, most, Math.ceil(total / 2 ** 18));
  const count = Math.max(1, asked);
  const workers = Array.from({ length: count }, () => startDataThread<PrepareWorker>('prepare_worker'));
  const stop = (): void => void Promise.all(workers.map((worker) => worker.close()));
  signal?.addEventListener('abort', stop);
  const parts: Parts = {};
  const names = { train: TRAIN_FILE, validation: VALIDATION_FILE };
  let done = 0;
  try {
    signal?.throwIfAborted();
    const source = tokenizer instanceof JsonTokenizer ? encoderOf(tokenizer).source : undefined;
    await Promise.all(workers.map(({ remote }) => remote.useTokenizer(source)));
    const segments = segmentsOf(files, validationFraction);
    const common = { textKey: options.textKey, dtype, endOfTextToken: tokenizer.endOfTextToken };
    for await (const [segment, { tokens, documents }] of encoded(workers, segments, common)) {
      const part = (parts[segment.part] ??= {
        writer: await TokenWriter.create(path.join(folder, names[segment.part]), format, dtype),
        documents: 0,
      });
      await part.writer.append(tokens);
      part.documents += documents;
      done += segment.to - segment.from;
      options.onProgress?.(done, total);
    }
    signal?.throwIfAborted();
    for (const [name, text] of json === undefined ? [] : Object.entries({ [TOKENIZER_JSON]: json, ...side }))
      await writeNew(path.join(folder, name), text);
    const finish = async (name: Segment['part'], part: Part): Promise<TokenDescription> => {
      const written = await part.writer.finish();
      delete parts[name];
      if (written.tokens === 0) throw empty(name, options);
      const description: TokenDescription = {
        ...{ version: 1, format, dtype, tokenizer: identityOf(tokenizer), vocabSize: tokenizer.vocabSize },
        ...{ tokens: written.tokens, documents: part.documents },
        ...(tokenizer.endOfTextToken === undefined ? {} : { endOfTextToken: tokenizer.endOfTextToken }),
        ...{ sha256: written.sha256, inputs: [...options.inputNames] },
      };
      const beside = path.join(folder, descriptionPath(names[name]));
      await writeNew(beside, descriptionText(description));
      return description;
    };
    const { train, validation } = parts;
    if (!train || (validationFraction > 0 && !validation))
      throw empty(train ? 'validation' : 'train', options);
    return {
      train: await finish('train', train),
      ...(validation ? { validation: await finish('validation', validation) } : {}),
    };
  } catch (error) {
    signal?.throwIfAborted();
    throw exhaustedError("the inputs can't be prepared", error) ?? error;
  } finally {
    signal?.removeEventListener('abort', stop);
    await Promise.all(workers.map((worker) => worker.close()));
    for (const part of Object.values(parts)) await part.writer.close().catch(() => undefined);
  }
}

const writeNew = (file: string, text: string): Promise<void> =>
  retried(() => writeFile(file, text, { flag: 'wx', flush: true }));

/** Segments with their tokens, in order; the workers are a few segments ahead. */
async function* encoded(
  workers: readonly ThreadClient<PrepareWorker>[],
  segments: Iterable<Segment>,
  options: EncodingOptions,
): AsyncGenerator<[Segment, EncodedSegment]> {
  const queue: { segment: Segment; result: Promise<EncodedSegment> }[] = [];
  let next = 0;
  for (const segment of segments) {
    const worker = workers[next++ % workers.length] as ThreadClient<PrepareWorker>;
    const result = worker.remote.encode(segment, options);
    // A failure is reported when its turn comes, so that it is the first in input order.
    result.catch(() => undefined);
    queue.push({ segment, result });
    if (queue.length < AHEAD * workers.length) continue;
    const first = queue.shift();
    if (first) yield [first.segment, await first.result];
  }
  for (const { segment, result } of queue) yield [segment, await result];
}

function dtypeFor({ vocabSize }: Tokenizer, given: TokenDtype | undefined): TokenDtype {
  const fits = vocabSize <= 2 ** 16;
  if (given === 'uint16' && !fits)
    throw new TesseraeError(
      'ERR_CONFIG',
      `dtype uint16 holds ids below 65536, but the tokenizer has ${vocabSize} tokens: use uint32`,
      { details: { path: 'dtype', vocabSize } },
    );
  if (vocabSize > MOST_VOCABULARY)
    throw new TesseraeError(
      'ERR_DATA',
      `a vocabulary of ${vocabSize} tokens is too large: at most ${MOST_VOCABULARY}`,
    );
  return given ?? (fits ? 'uint16' : 'uint32');
}

function empty(part: Segment['part'], { inputs, validationFraction }: PrepareOptions): TesseraeError {
  const remedy =
    validationFraction > 0
      ? `give more text, or change validationFraction ${validationFraction} (0 keeps none)`
      : 'give inputs with text in them';
  return new TesseraeError(
    'ERR_DATA',
    `the inputs leave no text for ${part === 'train' ? 'training' : 'validation'}: ${remedy}`,
    {
      details: { inputs },
    },
  );
}
