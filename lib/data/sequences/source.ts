/** Makes batches of the opened sequences in a worker thread. */
import { TesseraeError } from '../../errors';
import type { Capacity } from '../../models/capacities';
import { startsOf } from '../../models/document_starts';
import type { PackedBatch } from '../../models/packed_batch';
import type { BatchSource, EvaluationRequest } from '../batch_source';
import type { BatchRequest, SequenceStarts } from '../dataset';
import type { SplitName } from '../rows';
import { BucketPlan, PackPlan, PadPlan, type Plan, type PlannedBatch } from './plan';
import { fieldsOf, type SequenceRules } from './sequence';
import type { SequenceStore } from './store';

/** How sequences become rows: one per row, as many as fit a row, or rows of similar lengths. */
export type Batching = 'pad' | 'pack' | 'bucket';

/** How a source makes batches. */
export interface BatchingRules extends SequenceRules {
  readonly batching: Batching;
  /** For buckets. */
  readonly maxTokens?: number | undefined;
  readonly validationFraction: number;
}

/** The properties of opened sequences. */
export interface SequenceFacts {
  readonly sizes: SequenceSizes;
  readonly starts: SequenceStarts;
  readonly predictsNext: boolean;
}

/** Sizes of the parts. */
export interface SequenceSizes {
  /** The training part. */
  readonly train: PartSize;
  /** The validation part; zeros if there is none. */
  readonly validation: PartSize;
}

/** The size of a part. */
export interface PartSize {
  /** Number of sequences. */
  readonly sequences: number;
  /** Number of tokens, without padding and truncated tokens. */
  readonly tokens: number;
  /** Rows per epoch; for buckets, batches per epoch. */
  readonly rows: number;
}

interface Part {
  /** Number of its first sequence. */
  readonly first: number;
  readonly size: PartSize;
  readonly plan: Plan;
}

export class SequenceSource implements BatchSource {
  private readonly parts: Readonly<Record<SplitName, Part | undefined>>;

  /** @throws TesseraeError `ERR_DATA` for too few sequences, `ERR_CONFIG` for a maxTokens that does not hold the longest. */
  constructor(
    private readonly store: SequenceStore,
    private readonly rules: BatchingRules,
  ) {
    const { lengths } = store;
    const { validationFraction } = rules;
    if (lengths.length === 0)
      throw new TesseraeError('ERR_DATA', 'the data has no sequences: give at least one');
    const validation = Math.floor(lengths.length * validationFraction);
    if (validationFraction > 0 && validation === 0)
      throw new TesseraeError(
        'ERR_DATA',
        `validationFraction ${validationFraction} keeps none of the ${lengths.length} sequences: give at least ` +
          `${Math.ceil(1 / validationFraction)}, or validationFraction 0`,
        { details: { sequences: lengths.length } },
      );
    const train = lengths.length - validation;
    this.parts = {
      train: partOf(lengths.subarray(0, train), 0, rules),
      validation: validation > 0 ? partOf(lengths.subarray(train), train, rules) : undefined,
    };
  }

  get facts(): SequenceFacts {
    const none: PartSize = { sequences: 0, tokens: 0, rows: 0 };
    const size = (split: SplitName): PartSize => this.parts[split]?.size ?? none;
    return {
      sizes: { train: size('train'), validation: size('validation') },
      starts: this.store.starts.summary(),
      predictsNext: !this.store.hasTargets,
    };
  }

  batch(split: SplitName, request: BatchRequest): PackedBatch {
    const part = this.part(split);
    return this.assemble(part.plan.batch(request), part.first, request.rows);
  }

  evaluationBatch(split: SplitName, { index, rows, batches }: EvaluationRequest): PackedBatch | undefined {
    const part = this.part(split);
    const planned = part.plan.evaluation(index, rows, batches);
    return planned && this.assemble(planned, part.first, rows);
  }

  close(): void {
    this.store.close();
  }

  private part(split: SplitName): Part {
    const part = this.parts[split];
    if (!part) throw new TesseraeError('ERR_INTERNAL', `the sequences have no part '${split}'`);
    return part;
  }

  /** @param wanted - rows that the program has unless the plan says otherwise. */
  private assemble({ rows, capacity }: PlannedBatch, first: number, wanted: number): PackedBatch {
    const { blockSize, batching } = this.rules;
    const values = rows.map((row) => row.map((sequence) => this.store.values(first + sequence)));
    return batchOf(values, this.rules, {
      ...(capacity ?? { rows: wanted, lengths: { time: blockSize } }),
      ...(batching === 'pack' ? { documents: true } : {}),
    });
  }
}

/** The batch of the values of each row's sequences, padded to a capacity. */
export function batchOf(
  rows: readonly (readonly Int32Array[])[],
  rules: SequenceRules,
  capacity: Capacity,
): PackedBatch {
  if (rows.length === 0) return { capacity, rows: 0, inputs: {} };
  const fields = fieldsOf(rules);
  const sizes = rows.map((row) => row.map(({ length }) => length / fields.length));
  const { time = 1 } = capacity.lengths;
  const inputs: Record<string, Int32Array> = {};
  for (const [f, field] of fields.entries()) {
    const array = new Int32Array(capacity.rows * time);
    if (field === 'targets') array.fill(rules.ignoreIndex);
    rows.forEach((row, r) => {
      let at = r * time;
      for (const values of row) {
        const length = values.length / fields.length;
        array.set(values.subarray(f * length, (f + 1) * length), at);
        at += length;
      }
    });
    inputs[field] = array;
  }
  const lengths = Int32Array.from(sizes, (row) => row.reduce((a, b) => a + b, 0));
  if (capacity.documents) inputs['starts'] = startsOf(sizes.map(startsOfRow), lengths, capacity);
  return { capacity, rows: capacity.rows, lengths, inputs };
}

/** Where documents of these lengths start. */
function startsOfRow(lengths: readonly number[]): number[] {
  let end = 0;
  return lengths.map((length) => (end += length) - length);
}

function partOf(lengths: Int32Array, first: number, rules: BatchingRules): Part {
  const { batching, blockSize, maxTokens } = rules;
  let plan: Plan;
  if (batching === 'bucket') {
    const longest = lengths.reduce((a, b) => Math.max(a, b), 0);
    if (maxTokens === undefined || maxTokens < longest)
      throw new TesseraeError(
        'ERR_CONFIG',
        `maxTokens ${maxTokens} is less than the longest sequence, which has ${longest} tokens: use at least ${longest}`,
        { details: { path: 'maxTokens', longest } },
      );
    plan = new BucketPlan(lengths, blockSize, maxTokens);
  } else plan = batching === 'pack' ? new PackPlan(lengths, blockSize) : new PadPlan(lengths.length);
  const tokens = lengths.reduce((a, b) => a + b, 0);
  return { first, plan, size: { sequences: lengths.length, tokens, rows: plan.units } };
}
