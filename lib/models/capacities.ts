import type { Capacity } from '../native';
import { largestOf } from './extremes';

export type { Capacity };

/** Lengths are rounded up to multiples of this, so that batches of many lengths share few programs. */
const LENGTH_MULTIPLE = 32;

/** Most capacities of a model: each has a compiled Program, on a GPU captured as a CUDA graph. */
const MOST_CAPACITIES = 8;

/** Positions of all length axes together. */
const positions = ({ rows, lengths }: Capacity): number =>
  rows * Object.values(lengths).reduce((sum, length) => sum + length, 0);

/** `8 rows × 64 source × 48 target`. */
export const capacityText = ({ rows, lengths }: Capacity): string =>
  [`${rows} rows`, ...Object.entries(lengths).map(([axis, length]) => `${length} ${axis}`)].join(' × ');

/** Whether batches of one capacity fit another. */
const holds = (capacity: Capacity, batch: Capacity): boolean =>
  capacity.rows >= batch.rows &&
  Object.entries(batch.lengths).every(([axis, length]) => (capacity.lengths[axis] ?? 0) >= length);

/**
 * The capacities to which a model's batches are padded, so that batches of many sizes run few programs, without much
 * padding.
 */
export class Capacities {
  /** Least recently used first. */
  private known: readonly Capacity[] = [];

  /** @param most - the most positions of a row along each length axis. */
  constructor(private readonly most: Readonly<Record<string, number>>) {}

  /**
   * The capacity for a batch: the smallest known one that holds it and leaves at most a third of its positions unused;
   * else a new one. If there are already eight, the least recently used one is forgotten.
   *
   * @param batch - its rows, its longest row along each length axis, and whether it has documents.
   */
  holding(batch: Capacity): Capacity {
    const rounded = Object.entries(batch.lengths).map(([axis, length]): [string, number] => [
      axis,
      Math.min(Math.ceil(length / LENGTH_MULTIPLE) * LENGTH_MULTIPLE, this.most[axis] ?? length),
    ]);
    const exact = { ...batch, lengths: Object.fromEntries(rounded) };
    const found = this.known
      .filter(({ documents }) => Boolean(documents) === Boolean(exact.documents))
      .filter((capacity) => holds(capacity, exact))
      .filter((capacity) => 2 * positions(capacity) <= 3 * positions(exact))
      .reduce<Capacity | undefined>(
        (best, capacity) => (best && positions(best) <= positions(capacity) ? best : capacity),
        undefined,
      );
    const chosen = found ?? exact;
    this.known = [...this.known.filter((capacity) => capacity !== chosen), chosen].slice(-MOST_CAPACITIES);
    return chosen;
  }
}

/** The smallest capacity that holds batches of each of these. */
export function capacityOfAll(capacities: readonly Capacity[]): Capacity {
  const axes = new Set(capacities.flatMap(({ lengths }) => Object.keys(lengths)));
  const longest = (axis: string): number => largestOf(capacities.map(({ lengths }) => lengths[axis] ?? 1));
  return {
    rows: largestOf(capacities.map(({ rows }) => rows)),
    lengths: Object.fromEntries([...axes].map((axis) => [axis, longest(axis)])),
    ...(capacities.some(({ documents }) => documents) ? { documents: true } : {}),
  };
}
