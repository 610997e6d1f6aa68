import { z } from 'zod';
import { filePaths } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { ByteTokenizer } from './byte_tokenizer';
import { startDataThread } from './data_thread';
import type { Tokenizer } from './tokenizer';
import type { DataWorker } from './worker';
import { workerData, type TokenData } from './worker_dataset';

/** How a text becomes rows. */
export interface OpenTextOptions {
  /** Tokens per row: at most the nPositions of the model. */
  readonly blockSize: number;
  /** Share of the text to keep for validation, from its end, in [0, 0.9]. Default 0.1. */
  readonly validationFraction?: number;
}

/** A text ready to train on. */
export interface TextData extends TokenData {
  /** One token per byte. */
  readonly tokenizer: Tokenizer;
}

const optionsSchema = z.strictObject({
  blockSize: z
    .int()
    .min(1)
    .max(2 ** 20),
  validationFraction: z.number().min(0).max(0.9).default(0.1),
});

/**
 * Opens UTF-8 text files for training, one token per byte. Several files are joined in the given order. A worker thread
 * reads them and draws the batches: `train` gives random crops, `validation` windows that do not overlap.
 *
 * @param paths - a file, or several.
 * @throws TesseraeError `ERR_DATA` for a file that is missing, a directory, empty, not text, or too short for one row;
 * `ERR_CONFIG` for a wrong option, `ERR_DEVICE` if no thread can be started.
 *
 * @example
 * const data = await openText('book.txt', { blockSize: 128 });
 * const trainer = new Trainer(model, { arguments: { maxSteps: 1000 }, train: data.train, evaluation: data.validation });
 */
export async function openText(
  paths: string | readonly string[],
  options: OpenTextOptions,
): Promise<TextData> {
  const list = [parseConfig(filePaths, paths, { at: 'paths' })].flat();
  const given = parseConfig(optionsSchema, options);
  const client = startDataThread<DataWorker>('worker');
  try {
    const sizes = await client.remote.openText({ paths: list, ...given });
    const tokenizer = new ByteTokenizer();
    const { vocabSize } = tokenizer;
    return { ...workerData(client, { sizes, tokenizer, vocabSize, blockSize: given.blockSize }), tokenizer };
  } catch (error) {
    await client.close();
    throw error;
  }
}
