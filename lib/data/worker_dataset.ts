import type { PackedBatch } from '../models/packed_batch';
import type { Remote, ThreadClient } from '../threads/client';
import type { BatchSource } from './batch_source';
import type { Dataset } from './dataset';
import type { SplitName, TextSizes } from './rows';
import type { Tokenizer } from './tokenizer';
import type { DataWorker } from './worker';

/** Token ids ready to train on. */
export interface TokenData {
  /** The tokenizer that made the ids; absent if unknown. */
  readonly tokenizer?: Tokenizer;
  /** All ids are below it. */
  readonly vocabSize: number;
  /** The dataset to train on. */
  readonly train: Dataset;
  /** The dataset to evaluate on; absent if nothing is kept for validation. */
  readonly validation?: Dataset;
  /** Number of tokens of each part. */
  readonly sizes: TextSizes;
  /** Ends the worker thread. A process that has finished exits without this call. */
  close(): Promise<void>;
  /** Calls `close()`, at the end of an `await using` declaration. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The data that a worker has opened. */
export function workerData(
  client: ThreadClient<DataWorker>,
  given: {
    readonly sizes: TextSizes;
    readonly blockSize: number;
    readonly vocabSize: number;
    readonly tokenizer: Tokenizer | undefined;
  },
): TokenData {
  const { sizes, blockSize, vocabSize, tokenizer } = given;
  const close = (): Promise<void> => client.close();
  const known = tokenizer ? { tokenizer } : {};
  const dataset = (split: SplitName): Dataset =>
    workerDataset(client.remote, split, { predictsNext: true, blockSize, ...known });
  return {
    ...known,
    vocabSize,
    sizes,
    train: dataset('train'),
    ...(sizes.validation > 0 ? { validation: dataset('validation') } : {}),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The dataset of one part of a worker's data. */
export function workerDataset(
  remote: Remote<BatchSource>,
  split: SplitName,
  facts: Omit<Dataset, 'batch' | 'evaluationBatches'>,
): Dataset {
  return {
    ...facts,
    batch: (request) => remote.batch(split, request),
    async *evaluationBatches(rows, batches) {
      const ask = (index: number): Promise<PackedBatch | undefined> =>
        remote.evaluationBatch(split, { index, rows, batches });
      // The next batch is requested while the current one is used. Its failure is thrown when it is awaited.
      let next = ask(0);
      for (let index = 1; ; index++) {
        const batch = await next;
        if (!batch) return;
        next = ask(index);
        next.catch(() => undefined);
        yield batch;
      }
    },
  };
}
