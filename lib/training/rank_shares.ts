import type { Model } from '../models/model';
import { rowsOf, type ReadyBatch } from '../models/packed_batch';
import type { Capacity, RankShare } from '../native';

/** A step as native code takes it. */
export interface SharedStep {
  /** That of each rank's micro-batches. */
  readonly capacity: Capacity;
  readonly shares: readonly RankShare[];
}

/**
 * Divides the rows of each micro-batch among the ranks of a model, in order and as evenly as possible. A rank whose share of a
 * small batch is empty computes rows without a target.
 *
 * @param microBatches - of one capacity.
 */
export function shareOut({ graph, devices }: Model, microBatches: readonly ReadyBatch[]): SharedStep {
  const world = devices.length;
  const capacity = microBatches[0]?.capacity ?? { rows: 0, lengths: {} };
  const rows = Math.ceil(capacity.rows / world);
  let samples = 0;
  const firsts = microBatches.map(({ lengths }) => (samples += lengths.length) - lengths.length);
  const shares = devices.map((_, rank): RankShare => {
    const cuts = microBatches.map(({ lengths }) => ({
      begin: Math.floor((lengths.length * rank) / world),
      end: Math.floor((lengths.length * (rank + 1)) / world),
    }));
    const part = (batch: ReadyBatch, i: number): ReadyBatch =>
      world === 1 ? batch : rowsOf(graph, batch, { begin: 0, end: 0, ...cuts[i], rows });
    return {
      microBatches: microBatches.map((batch, i) => part(batch, i).inputs),
      firstSamples: firsts.map((first, i) => first + (cuts[i]?.begin ?? 0)),
    };
  });
  return { capacity: { ...capacity, rows }, shares };
}
