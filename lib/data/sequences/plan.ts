/**
 * Decides which sequences form which batch. Every plan is computed from lengths alone; an epoch only permutes it. So the
 * batch of any step is found directly, and a run resumes anywhere at no cost.
 */
import type { Capacity } from '../../models/capacities';
import type { BatchRequest } from '../dataset';
import { packRows, type PackedRows } from './best_fit';
import { chooseBuckets, type Bucket } from './buckets';
import { Permutation } from './permutation';

/** One micro-batch: for each row the numbers of its sequences. */
export interface PlannedBatch {
  readonly rows: readonly (readonly number[])[];
  /** Size to which it is padded, if not the requested rows. */
  readonly capacity?: Capacity;
}

export interface Plan {
  /** Rows of an epoch; batches, for buckets. */
  readonly units: number;
  batch(request: BatchRequest): PlannedBatch;
  /** Batch `index` of an evaluation, evenly spread over the sequences, or undefined after the last. */
  evaluation(index: number, rows: number, batches: number): PlannedBatch | undefined;
}

/** Which epoch, by which seed. Without it nothing is permuted. */
interface Shuffle {
  readonly seed: number;
  readonly epoch: number;
}

/** Streams of the permutations: of the units of an epoch, and, above it, of the sequences of each class. */
const UNITS = 0;

/** Rows that each epoch has once, in its own order. */
abstract class RowPlan implements Plan {
  abstract readonly units: number;
  protected abstract row(unit: number, shuffle?: Shuffle): readonly number[];

  batch({ seed, step, microStep, microSteps = 1, rows }: BatchRequest): PlannedBatch {
    const first = (step * microSteps + microStep) * rows;
    let order: (Shuffle & { readonly units: Permutation }) | undefined;
    return {
      rows: Array.from({ length: rows }, (_, r) => {
        const epoch = Math.floor((first + r) / this.units);
        // A batch may begin in one epoch and end in the next.
        if (order?.epoch !== epoch)
          order = { seed, epoch, units: new Permutation(seed, epoch, UNITS, this.units) };
        return this.row(order.units.at((first + r) % this.units), order);
      }),
    };
  }

  evaluation(index: number, rows: number, batches: number): PlannedBatch | undefined {
    const used = Math.min(this.units, rows * batches);
    const first = index * rows;
    if (first >= used) return undefined;
    return {
      rows: Array.from({ length: Math.min(rows, used - first) }, (_, r) =>
        this.row(Math.floor(((first + r) * this.units) / used)),
      ),
    };
  }
}

/** One sequence per row. */
export class PadPlan extends RowPlan {
  constructor(readonly units: number) {
    super();
  }

  protected row(unit: number): readonly number[] {
    return [unit];
  }
}

/**
 * Several sequences per row, by best fit. The lengths that share a row are fixed; each epoch redistributes the sequences of
 * each length. Takes 12 to 16 bytes per sequence.
 */
export class PackPlan extends RowPlan {
  private readonly sorted: Classes;
  private readonly packed: PackedRows;

  constructor(lengths: Int32Array, blockSize: number) {
    super();
    this.sorted = new Classes(lengths, blockSize + 1);
    this.packed = packRows(
      this.sorted.order.map((sequence) => lengths[sequence] as number),
      blockSize,
    );
  }

  get units(): number {
    return this.packed.first.length - 1;
  }

  protected row(unit: number, shuffle?: Shuffle): readonly number[] {
    const { first, documents } = this.packed;
    return Array.from(documents.subarray(first[unit], first[unit + 1]), (slot) =>
      this.sorted.at(slot, shuffle),
    );
  }
}

/** The part of a bucket in an epoch: `steps` steps with up to `rows` rows per micro-batch. */
interface BucketSteps extends Bucket {
  readonly rows: number;
  readonly steps: number;
}

/**
 * Rows of similar lengths, as many as fit maxTokens when padded to the longest of their bucket. All micro-batches of a step
 * are of one bucket; in the last step of a bucket some may have fewer rows, or none. Takes 12 bytes a sequence.
 */
export class BucketPlan implements Plan {
  private readonly classes: Classes;
  private readonly buckets: readonly Bucket[];

  constructor(
    lengths: Int32Array,
    blockSize: number,
    private readonly maxTokens: number,
  ) {
    const histogram = new Int32Array(blockSize + 1);
    for (const length of lengths) histogram[length] = (histogram[length] as number) + 1;
    this.buckets = chooseBuckets(histogram, Math.min(blockSize, maxTokens));
    this.classes = new Classes(
      lengths.map((length) => this.buckets.findIndex(({ time }) => length <= time)),
      this.buckets.length,
    );
  }

  get units(): number {
    return unitsOf(this.stepsOf(1));
  }

  batch({ seed, step, microStep, microSteps = 1 }: BatchRequest): PlannedBatch {
    const buckets = this.stepsOf(microSteps);
    const units = unitsOf(buckets);
    const epoch = Math.floor(step / units);
    const unit = new Permutation(seed, epoch, UNITS, units).at(step % units);
    return this.part(buckets, unit, { microStep, microSteps }, { seed, epoch });
  }

  evaluation(index: number, _rows: number, batches: number): PlannedBatch | undefined {
    const buckets = this.stepsOf(1);
    const units = unitsOf(buckets);
    const used = Math.min(units, batches);
    if (index >= used) return undefined;
    return this.part(buckets, Math.floor((index * units) / used), { microStep: 0, microSteps: 1 });
  }

  /** A micro-batch of step `unit` of an epoch. */
  private part(
    buckets: readonly BucketSteps[],
    unit: number,
    { microStep, microSteps }: { microStep: number; microSteps: number },
    shuffle?: Shuffle,
  ): PlannedBatch {
    let step = unit;
    let own = 0;
    for (; step >= (buckets[own] as BucketSteps).steps; own++) step -= (buckets[own] as BucketSteps).steps;
    const { time, count, rows } = buckets[own] as BucketSteps;
    const first = (step * microSteps + microStep) * rows;
    const start = this.classes.first[own] as number;
    return {
      rows: Array.from({ length: Math.max(0, Math.min(rows, count - first)) }, (_, r) => [
        this.classes.at(start + first + r, shuffle),
      ]),
      capacity: { rows, lengths: { time } },
    };
  }

  private stepsOf(microSteps: number): BucketSteps[] {
    return this.buckets.map(({ time, count }) => {
      const most = Math.floor(this.maxTokens / time);
      const needed = Math.ceil(count / (most * microSteps));
      // Spread evenly over the steps, so that the last batch is not mostly padding; that may save a step.
      const rows = Math.ceil(count / (needed * microSteps));
      return { time, count, rows, steps: Math.ceil(count / (rows * microSteps)) };
    });
  }
}

const unitsOf = (buckets: readonly BucketSteps[]): number =>
  buckets.reduce((sum, { steps }) => sum + steps, 0);

/** Sequences sorted by class; an epoch may exchange those of one class. */
class Classes {
  /** The sequences of class c are order[first[c]] to order[first[c + 1] - 1]. */
  readonly order: Int32Array;
  readonly first: Int32Array;

  /** @param classOf - the class of each sequence, in [0, classes). */
  constructor(
    private readonly classOf: Int32Array,
    classes: number,
  ) {
    this.first = new Int32Array(classes + 1);
    this.order = new Int32Array(classOf.length);
    for (const one of classOf) this.first[one + 1] = (this.first[one + 1] as number) + 1;
    for (let c = 0; c < classes; c++)
      this.first[c + 1] = (this.first[c + 1] as number) + (this.first[c] as number);
    const next = this.first.slice();
    classOf.forEach((one, sequence) => {
      this.order[next[one] as number] = sequence;
      next[one] = (next[one] as number) + 1;
    });
  }

  /** The sequence in a slot of the order, in one epoch. */
  at(slot: number, shuffle?: Shuffle): number {
    if (!shuffle) return this.order[slot] as number;
    const own = this.classOf[this.order[slot] as number] as number;
    const start = this.first[own] as number;
    const size = (this.first[own + 1] as number) - start;
    if (size === 1) return this.order[slot] as number;
    const { seed, epoch } = shuffle;
    return this.order[start + new Permutation(seed, epoch, UNITS + 1 + own, size).at(slot - start)] as number;
  }
}
