import { z } from 'zod';
import { TesseraeError } from '../errors';
import { parseConfig } from '../models/validation';
import type { TrainingBatch } from '../models/inputs';
import { ByteTokenizer } from './byte_tokenizer';
import type { BatchRequest, Dataset } from './dataset';
import type { Crops, SplitName, TextSizes } from './text_source';
import type { Tokenizer } from './tokenizer';
import { WorkerClient } from './worker_client';

/** How a text becomes rows. */
export interface OpenTextOptions {
  /** Tokens of a row: at most the nPositions of the model that is trained. */
  readonly blockSize: number;
  /** Share of the text, taken from its end, that is kept for validation, in [0, 0.9]. Default 0.1. */
  readonly validationFraction?: number;
}

/** A text that is ready to train on. */
export interface TextData {
  readonly tokenizer: Tokenizer;
  readonly train: Dataset;
  /** Absent when validationFraction is 0. */
  readonly validation?: Dataset;
  /** Tokens of each part. */
  readonly sizes: TextSizes;
  /** Ends the worker thread. A process that is otherwise done ends without this. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const optionsSchema = z.strictObject({
  blockSize: z
    .int()
    .min(1)
    .max(2 ** 20),
  validationFraction: z.number().min(0).max(0.9).default(0.1),
});

/**
 * Opens UTF-8 text files for training, one token a byte. Several files are joined in the order given. A worker thread
 * reads them and draws the batches: `train` gives random crops, `validation` windows that do not overlap.
 *
 * @throws TesseraeError `ERR_DATA` for a file that is missing, a directory, empty, not text, or too short for one row;
 * `ERR_CONFIG` for a wrong option.
 *
 * @example
 * const data = await openText('book.txt', { blockSize: 128 });
 * const trainer = new Trainer(model, { arguments: { maxSteps: 1000 }, train: data.train, evaluation: data.validation });
 */
export async function openText(
  paths: string | readonly string[],
  options: OpenTextOptions,
): Promise<TextData> {
  const list: readonly unknown[] = typeof paths === 'string' ? [paths] : paths;
  if (
    !Array.isArray(list) ||
    list.length === 0 ||
    !list.every((one) => typeof one === 'string' && one !== '')
  )
    throw new TesseraeError('ERR_CONFIG', 'openText needs the path of a text file, or an array of paths', {
      details: { path: 'paths' },
    });
  const given = parseConfig(optionsSchema, options);
  const client = new WorkerClient();
  try {
    const sizes = (await client.call({
      kind: 'open',
      options: { paths: list as string[], ...given },
    })) as TextSizes;
    return textData(client, sizes, given.blockSize);
  } catch (error) {
    await client.close();
    throw error;
  }
}

function textData(client: WorkerClient, sizes: TextSizes, blockSize: number): TextData {
  const tokenizer = new ByteTokenizer();
  const close = (): Promise<void> => client.close();
  const dataset = (split: SplitName): Dataset => new TextDataset(client, split, blockSize, tokenizer);
  return {
    tokenizer,
    sizes,
    train: dataset('train'),
    ...(sizes.validation > 0 ? { validation: dataset('validation') } : {}),
    close,
    [Symbol.asyncDispose]: close,
  };
}

class TextDataset implements Dataset {
  readonly predictsNext = true;

  constructor(
    private readonly client: WorkerClient,
    private readonly split: SplitName,
    readonly blockSize: number,
    readonly tokenizer: Tokenizer,
  ) {}

  async batch(request: BatchRequest): Promise<TrainingBatch> {
    return received(await this.client.call({ kind: 'crops', split: this.split, request }));
  }

  async *evaluationBatches(rows: number, batches: number): AsyncGenerator<TrainingBatch> {
    const ask = (index: number): Promise<unknown> =>
      this.client.call({ kind: 'windows', split: this.split, index, rows, batches });
    let next = ask(0);
    for (let index = 1; ; index++) {
      const crops = await next;
      if (crops === undefined) return;
      // The worker cuts the next batch while this one is computed; a failure is reported when it is waited for.
      next = ask(index);
      next.catch(() => undefined);
      yield received(crops);
    }
  }
}

function received(message: unknown): TrainingBatch {
  const { tokens, targets, rows } = message as Crops;
  return { tokens: new Int32Array(tokens.buffer), targets: new Int32Array(targets.buffer), rows };
}
