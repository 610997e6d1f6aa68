import { z } from 'zod';
import { TesseraeError } from '../../errors';
import { reading } from '../../models/array_likes';
import { settings } from '../../models/settings';
import { parseConfig } from '../../models/validation';
import { startDataThread } from '../data_thread';
import type { BatchRequest, Dataset, DatasetBatch } from '../dataset';
import { sequenceOptionsSchema, sequenceSynonyms, type SequenceOptions } from './options';
import type { Sequence } from './sequence';
import { idsOf } from './sequences';
import type { SequenceWorker } from './worker';

/** The rules for the sequences of a stream. */
export interface StreamSequencesOptions extends SequenceOptions {
  /** Whether sequences have targets of their own, which an encoder needs. Default false: targets are the next tokens. */
  readonly targets?: boolean;
}

/** A stream of sequences, or a function that starts one at sequence number `first`, from 0. */
export type SequenceStream = AsyncIterable<Sequence> | ((first: number) => AsyncIterable<Sequence>);

/** A stream ready to train on. */
export interface StreamData {
  /** The dataset to train on. */
  readonly train: Dataset;
  /** Ends the stream and the worker thread. */
  close(): Promise<void>;
  /** Calls `close()`, at the end of an `await using` declaration. */
  [Symbol.asyncDispose](): Promise<void>;
}

const schema = sequenceOptionsSchema
  .extend({ targets: z.boolean().default(false) })
  .register(settings, { synonyms: sequenceSynonyms });

/** Steps whose batches are kept: a run that stops and continues asks again for the batch it had drawn ahead. */
const STEPS_KEPT = 3;

/**
 * Trains on sequences as they arrive: one per row, in the order of the stream, with only the next two steps in memory. Each
 * sequence is checked when it is drawn.
 *
 * A function is called with the number of the first sequence that the run needs, so a resumed run continues exactly where it
 * stopped. A stream that is not a function can't be replayed: resuming a run with it fails with `ERR_DATA`.
 *
 * @throws TesseraeError `ERR_CONFIG` for a wrong option, `ERR_DEVICE` if no thread can be started. Batches reject with
 * `ERR_DATA` for a wrong sequence, with its number in the stream, or if the stream ends before the run; they also reject with
 * the errors of the stream.
 *
 * @example
 * const data = streamSequences((first) => eventsFrom(first), { vocabSize: 512, blockSize: 256 });
 * const trainer = new Trainer(model, { arguments: { maxSteps: 1000 }, train: data.train });
 */
export function streamSequences(stream: SequenceStream, options: StreamSequencesOptions): StreamData {
  const isStream = reading(
    { name: 'stream', path: 'stream', code: 'ERR_CONFIG' },
    () => typeof stream === 'function' || typeof stream?.[Symbol.asyncIterator] === 'function',
  );
  if (!isStream)
    throw new TesseraeError(
      'ERR_CONFIG',
      'streamSequences needs an async iterable, or a function that returns one: for an array use openSequences',
      { details: { path: 'stream' } },
    );
  const rules = parseConfig(schema, options);
  const client = startDataThread<SequenceWorker>('sequences/worker');
  const reader = new StreamReader(stream);
  const close = async (): Promise<void> => {
    reader.close();
    await client.close();
  };
  const make = async (first: number, count: number): Promise<DatasetBatch> => {
    const sequences = await reader.take(first, count);
    return client.remote.streamBatch(sequences, first, rules);
  };
  return {
    train: new StreamDataset(rules.blockSize, !rules.targets, idsOf(rules), make),
    close,
    [Symbol.asyncDispose]: close,
  };
}

class StreamDataset implements Dataset {
  private readonly kept = new Map<number, { readonly step: number; readonly batch: Promise<DatasetBatch> }>();

  constructor(
    readonly blockSize: number,
    readonly predictsNext: boolean,
    readonly ids: Dataset['ids'] & object,
    private readonly make: (first: number, count: number) => Promise<DatasetBatch>,
  ) {}

  batch({ step, microStep, microSteps = 1, rows }: BatchRequest): Promise<DatasetBatch> {
    const first = (step * microSteps + microStep) * rows;
    for (const [key, { step: old }] of this.kept) if (old + STEPS_KEPT <= step) this.kept.delete(key);
    const known = this.kept.get(first);
    if (known) return known.batch;
    const batch = this.make(first, rows);
    this.kept.set(first, { step, batch });
    return batch;
  }

  // eslint-disable-next-line require-yield, @typescript-eslint/require-await
  async *evaluationBatches(): AsyncGenerator<DatasetBatch> {
    throw new TesseraeError(
      'ERR_CONFIG',
      'a stream has no rows to evaluate on, because it gives each row once: open an evaluation dataset with openSequences',
      { details: { path: 'evaluation' } },
    );
  }
}

/** Reads sequences by number from a stream that only goes forward. */
class StreamReader {
  private iterator: AsyncIterator<Sequence> | undefined;
  private next = 0;
  private closed = false;
  /** Requests wait for those before them. */
  private queue: Promise<unknown> = Promise.resolve();

  constructor(private readonly stream: SequenceStream) {}

  take(first: number, count: number): Promise<unknown[]> {
    const taken = this.queue.then(() => this.read(first, count));
    this.queue = taken.catch(() => undefined);
    return taken;
  }

  close(): void {
    this.closed = true;
    this.end();
  }

  /** Does not wait, because the stream may never yield again. */
  private end(): void {
    void this.iterator?.return?.().catch(() => undefined);
  }

  private async read(first: number, count: number): Promise<unknown[]> {
    if (this.closed) throw new TesseraeError('ERR_DISPOSED', 'the stream was closed');
    if (!this.iterator || first !== this.next) this.begin(first);
    const sequences: unknown[] = [];
    while (sequences.length < count) {
      const result = await (this.iterator as AsyncIterator<Sequence>).next();
      if (result.done)
        throw new TesseraeError(
          'ERR_DATA',
          `the stream ended after ${this.next} sequences, but the run needs ${first + count} now: lower maxSteps, or ` +
            'give a longer stream',
          { details: { sequences: this.next } },
        );
      this.next++;
      sequences.push(result.value);
    }
    return sequences;
  }

  private begin(first: number): void {
    if (typeof this.stream === 'function') {
      this.end();
      this.iterator = this.stream(first)[Symbol.asyncIterator]();
    } else {
      if (first !== this.next)
        throw new TesseraeError(
          'ERR_DATA',
          `the stream is at sequence ${this.next}, but the run needs sequence ${first}, and a stream can't be replayed: ` +
            'give a function (first) => AsyncIterable that starts at sequence `first`',
          { details: { sequence: first } },
        );
      this.iterator = this.stream[Symbol.asyncIterator]();
    }
    this.next = first;
  }
}
