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
  const beginOf = ({ lengths }: ReadyBatch, rank: number): number =>
    Math.floor((lengths.length * rank) / world);
  const inputsOf = (batch: ReadyBatch, rank: number): RankShare['microBatches'][number] => {
    if (world === 1) return batch.inputs;
    return rowsOf(graph, batch, { begin: beginOf(batch, rank), end: beginOf(batch, rank + 1), rows }).inputs;
  };
  const shares = devices.map((_, rank) => ({
    microBatches: microBatches.map((batch) => inputsOf(batch, rank)),
    firstSamples: microBatches.map((batch, i) => (firsts[i] ?? 0) + beginOf(batch, rank)),
  }));
  return { capacity: { ...capacity, rows }, shares };
}
