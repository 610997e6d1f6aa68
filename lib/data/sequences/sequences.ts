import { z } from 'zod';
import { messageOf, TesseraeError } from '../../errors';
import { reading } from '../../models/array_likes';
import { settings } from '../../models/settings';
import { parseConfig } from '../../models/validation';
import type { ThreadClient } from '../../threads/client';
import { startDataThread } from '../data_thread';
import type { Dataset, IdRanges, SequenceStarts } from '../dataset';
import type { SplitName } from '../rows';
import { workerDataset } from '../worker_dataset';
import { sequenceOptionsSchema, sequenceSynonyms, type SequenceOptions } from './options';
import type { Sequence } from './sequence';
import type { Batching, BatchingRules, SequenceFacts, SequenceSizes } from './source';
import type { SequenceWorker } from './worker';

/** How sequences become batches. */
export interface OpenSequencesOptions extends SequenceOptions {
  /**
   * `pad`: one sequence per row. `pack`: as many sequences as fit a row; none sees another. `bucket`: rows of similar lengths,
   * as many as maxTokens allows, whatever batchSize says. Default 'pad'.
   */
  readonly batching?: Batching;
  /** Largest number of positions in a micro-batch, padding included. Required for `bucket`, else not allowed. */
  readonly maxTokens?: number;
  /** Share of the sequences to keep for validation, from their end, in [0, 0.9]. Default 0.1. */
  readonly validationFraction?: number;
}

/** Sequences ready to train on. */
export interface SequenceData {
  /** The dataset to train on. */
  readonly train: Dataset;
  /** The dataset to evaluate on; absent if validationFraction is 0. */
  readonly validation?: Dataset;
  /** Numbers of sequences, tokens and rows of each part. */
  readonly sizes: SequenceSizes;
  /** How the sequences begin. */
  readonly starts: SequenceStarts;
  /** Ends the worker thread. A process that has finished exits without this call. */
  close(): Promise<void>;
  /** Calls `close()`, at the end of an `await using` declaration. */
  [Symbol.asyncDispose](): Promise<void>;
}

export const BATCHINGS = ['pad', 'pack', 'bucket'] as const satisfies Batching[];

const schema = sequenceOptionsSchema
  .extend({
    batching: z.enum(BATCHINGS).default('pad'),
    maxTokens: z
      .int()
      .min(1)
      .max(2 ** 31 - 1)
      .optional(),
    validationFraction: z.number().min(0).max(0.9).default(0.1),
  })
  .register(settings, { synonyms: sequenceSynonyms });

/** Sequences per message to the worker: the messages are copied on this thread. */
const SEQUENCES_A_MESSAGE = 1024;

/**
 * Opens sequences of tokens for training: JSONL files with one `Sequence` per line, or an array of sequences. A worker thread
 * checks all of them and makes the batches. Each epoch has every sequence once, in an order that depends on the seed and the
 * epoch. The batch of any step is found directly, so a resumed run continues at once.
 *
 * @param source - the path of a JSONL file, several paths, or the sequences themselves, which are copied.
 * @param options - the rules for sequences, and how they become batches.
 * @throws TesseraeError `ERR_DATA` for a missing file, or a wrong sequence, with its file and line in the message and in
 * `details`; `ERR_CONFIG` for a wrong option, `ERR_DEVICE` if no thread can be started.
 *
 * @example
 * // layouts.jsonl: {"tokens": [1, 17, 4, 2], "lossMask": [0, 0, 1, 1]} …
 * const data = await openSequences('layouts.jsonl', { vocabSize: 256, blockSize: 128, batching: 'pack' });
 * const trainer = new Trainer(model, { arguments: { maxSteps: 1000 }, train: data.train, evaluation: data.validation });
 */
export async function openSequences(
  source: string | readonly string[] | readonly Sequence[],
  options: OpenSequencesOptions,
): Promise<SequenceData> {
  const given = reading({ name: 'source', path: 'source', code: 'ERR_CONFIG' }, () =>
    Array.isArray(source) ? Array.from(source as readonly unknown[]) : [source],
  );
  if (given.length === 0 || given.includes('') || (!Array.isArray(source) && typeof source !== 'string'))
    throw new TesseraeError(
      'ERR_CONFIG',
      'openSequences needs the path of a JSONL file, an array of paths, or an array of sequences',
      { details: { path: 'source' } },
    );
  const rules = parseConfig(schema, options);
  checkMaxTokens(rules);
  const client = startDataThread<SequenceWorker>('sequences/worker');
  try {
    const paths = given.every((one) => typeof one === 'string') ? given : undefined;
    if (!paths) await handOver(client, given, rules);
    const facts = await client.remote.open(rules, paths);
    return sequenceData(client, facts, rules);
  } catch (error) {
    await client.close();
    throw error;
  }
}

function checkMaxTokens({ batching, maxTokens }: BatchingRules): void {
  if ((batching === 'bucket') === (maxTokens !== undefined)) return;
  throw new TesseraeError(
    'ERR_CONFIG',
    maxTokens === undefined
      ? "batching 'bucket' needs maxTokens, the largest number of positions in a micro-batch, such as 16384"
      : `maxTokens is for batching 'bucket', not '${batching}': leave it out`,
    { details: { path: 'maxTokens' } },
  );
}

async function handOver(
  client: ThreadClient<SequenceWorker>,
  given: readonly unknown[],
  rules: BatchingRules,
): Promise<void> {
  for (let first = 0; first < given.length; first += SEQUENCES_A_MESSAGE) {
    const sequences = given.slice(first, first + SEQUENCES_A_MESSAGE);
    await client.remote.add(sequences, rules).catch((cause: unknown) => {
      if (cause instanceof TesseraeError) throw cause;
      // Functions, proxies and getters that throw can't be sent to another thread.
      const where = `one of the sequences ${first} to ${first + sequences.length - 1}`;
      throw new TesseraeError('ERR_DATA', `${where} is not plain data: ${messageOf(cause)}`, { cause });
    });
  }
}

function sequenceData(
  client: ThreadClient<SequenceWorker>,
  { sizes, starts, predictsNext }: SequenceFacts,
  rules: BatchingRules,
): SequenceData {
  const close = (): Promise<void> => client.close();
  const { batching, maxTokens, blockSize } = rules;
  const dataset = (split: SplitName): Dataset => {
    const { sequences, tokens } = sizes[split];
    const order =
      `${batching}${maxTokens === undefined ? '' : ` by ${maxTokens}`}, ` +
      `${sequences} sequences of ${tokens} tokens`;
    return workerDataset(client.remote, split, { blockSize, order, ids: idsOf(rules), starts, predictsNext });
  };
  return {
    sizes,
    starts,
    train: dataset('train'),
    ...(sizes.validation.sequences > 0 ? { validation: dataset('validation') } : {}),
    close,
    [Symbol.asyncDispose]: close,
  };
}

export function idsOf({ vocabSize, nTypes, nStypes, ignoreIndex }: IdRanges): IdRanges {
  return { vocabSize, nTypes, nStypes, ignoreIndex };
}
