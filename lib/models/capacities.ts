import type { Capacity } from '../native';

export type { Capacity };

/** Times are rounded up to multiples of this, so that batches of many lengths share few programs. */
const TIME_MULTIPLE = 32;

/** Programs are compiled, and on a GPU captured, for at most so many capacities. */
const MOST_CAPACITIES = 8;

const positions = ({ rows, time }: Capacity): number => rows * time;

/**
 * The capacities that a model's batches are mapped to. Batches of many sizes so run few programs, none of them mostly
 * padding.
 */
export class Capacities {
  /** In the order of use, the last one last. */
  private known: readonly Capacity[] = [];

  /** @param nPositions - the most positions of a row. */
  constructor(private readonly nPositions: number) {}

  /**
   * The capacity for a batch: the smallest known one that holds it and leaves at most a third of its positions unused;
   * else a new one, for which the one that was used longest ago is forgotten when there are eight.
   *
   * @param batch - its rows, tokens of its longest row, at most nPositions, and whether it has documents.
   */
  holding(batch: Capacity): Capacity {
    const exact = {
      ...batch,
      time: Math.min(Math.ceil(batch.time / TIME_MULTIPLE) * TIME_MULTIPLE, this.nPositions),
    };
    const found = this.known
      .filter(({ documents }) => Boolean(documents) === Boolean(exact.documents))
      .filter(({ rows, time }) => rows >= exact.rows && time >= exact.time)
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
