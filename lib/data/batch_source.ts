/** Sources of batches in a worker thread. */
import type { PackedBatch } from '../models/packed_batch';
import { transfer } from '../threads/transfer';
import type { BatchRequest } from './dataset';
import type { SplitName } from './rows';

/** Selects a batch of an evaluation. */
export interface EvaluationRequest {
  /** From 0. */
  readonly index: number;
  /** Rows per batch. */
  readonly rows: number;
  /** Largest number of batches. */
  readonly batches: number;
}

/** Makes batches. */
export interface BatchSource {
  batch(split: SplitName, request: BatchRequest): PackedBatch;
  /** A batch of an evaluation, or undefined after the last. */
  evaluationBatch(split: SplitName, request: EvaluationRequest): PackedBatch | undefined;
}

/** The methods of a worker thread that makes batches: their arrays move to the caller. */
export const servedBatches = (opened: () => BatchSource): BatchSource => ({
  batch: (split, request) => moved(opened().batch(split, request)),
  evaluationBatch(split, request) {
    const batch = opened().evaluationBatch(split, request);
    return batch && moved(batch);
  },
});

/** Lets a batch take its arrays with it. */
export const moved = (batch: PackedBatch): PackedBatch => transfer(batch, Object.values(batch.inputs));
