import type { TrainingBatch } from '../models/inputs';
import type { Tokenizer } from './tokenizer';

/** Which rows to draw: the same request always gives the same rows. */
export interface BatchRequest {
  /** An integer in [0, 2^53). */
  readonly seed: number;
  /** Optimizer step, from 0; steps that were skipped count. */
  readonly step: number;
  /** Micro-step within the step, from 0. */
  readonly microStep: number;
  /** Rows of one micro-batch. */
  readonly rows: number;
}

/** Where a trainer gets its batches from. Anything of this form will do. */
export interface Dataset {
  /** Tokens of a row; rows may be shorter, never longer. */
  readonly blockSize: number;
  /** How its ids came from text; saved with checkpoints when there is one. */
  readonly tokenizer?: Tokenizer;
  /** Whether targets are the next tokens, which only a causal model may be trained on: others see the answers. */
  readonly predictsNext?: boolean;
  /** Rows to learn from. They depend on the request alone, so that a run can be repeated. */
  batch(request: BatchRequest): Promise<TrainingBatch>;
  /** The same rows at every call: at most `batches` batches of at most `rows` rows. */
  evaluationBatches(rows: number, batches: number): AsyncIterable<TrainingBatch>;
}
