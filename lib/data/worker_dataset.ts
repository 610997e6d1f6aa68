import type { PackedBatch } from '../models/packed_batch';
import type { Remote, ThreadClient } from '../threads/client';
import type { BatchSource } from './batch_source';
import type { Dataset } from './dataset';
import type { SplitName, TextSizes } from './rows';
import type { Tokenizer } from './tokenizer';
import type { DataWorker } from './worker';

/** Token ids that are ready to train on. */
export interface TokenData {
  /** How the ids came from text; absent when nothing says it. */
  readonly tokenizer?: Tokenizer;
  /** All ids are below it. */
  readonly vocabSize: number;
  /** What to learn from. */
  readonly train: Dataset;
  /** Absent when nothing is kept for validation. */
  readonly validation?: Dataset;
  /** Tokens of each part. */
  readonly sizes: TextSizes;
  /** Ends the worker thread. A process that is otherwise done ends without this. */
  close(): Promise<void>;
  /** Calls `close()`, at the end of an `await using` declaration. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The data of a worker that has opened a text or token files. */
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

/** The dataset of a part of what a worker has opened. */
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
      // The next one is asked for while the one before is used. A failure is thrown when its turn comes.
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
