import type { TrainingBatch } from '../models/inputs';
import type { ThreadClient } from '../threads/client';
import type { BatchRequest, Dataset } from './dataset';
import { oneAhead } from './one_ahead';
import type { Crops, SplitName, TextSizes } from './rows';
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
  const dataset = (split: SplitName): Dataset => new WorkerDataset(client, split, blockSize, tokenizer);
  return {
    ...(tokenizer ? { tokenizer } : {}),
    vocabSize,
    sizes,
    train: dataset('train'),
    ...(sizes.validation > 0 ? { validation: dataset('validation') } : {}),
    close,
    [Symbol.asyncDispose]: close,
  };
}

class WorkerDataset implements Dataset {
  readonly predictsNext = true;
  readonly tokenizer?: Tokenizer;

  constructor(
    private readonly client: ThreadClient<DataWorker>,
    private readonly split: SplitName,
    readonly blockSize: number,
    tokenizer: Tokenizer | undefined,
  ) {
    if (tokenizer) this.tokenizer = tokenizer;
  }

  async batch(request: BatchRequest): Promise<TrainingBatch> {
    return received(await this.client.remote.crops(this.split, request));
  }

  async *evaluationBatches(rows: number, batches: number): AsyncGenerator<TrainingBatch> {
    const ask = (index: number): Promise<Crops | undefined> =>
      this.client.remote.windows(this.split, index, rows, batches);
    for await (const crops of oneAhead(ask)) yield received(crops);
  }
}

function received({ tokens, targets, rows }: Crops): TrainingBatch {
  return { tokens: new Int32Array(tokens.buffer), targets: new Int32Array(targets.buffer), rows };
}
