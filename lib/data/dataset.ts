import type { ExampleBatch } from '../models/example_rows';
import type { Capacity, TrainingBatch } from '../models/inputs';
import type { PackedBatch } from '../models/packed_batch';
import type { Tokenizer } from './tokenizer';

/** Selects the rows to draw. The same request always gives the same rows. */
export interface BatchRequest {
  /** An integer in [0, 2^53). */
  readonly seed: number;
  /** Optimizer step, from 0; skipped steps count. */
  readonly step: number;
  /** Micro-step within the step, from 0. */
  readonly microStep: number;
  /** Number of micro-steps per step. Default 1. */
  readonly microSteps?: number;
  /** Rows of one micro-batch. */
  readonly rows: number;
}

/**
 * A batch of a dataset: packed, or as rows. A batch without rows, or whose tokens are an empty array, is left out, so the
 * step has fewer micro-batches.
 */
export type DatasetBatch = PackedBatch | DatasetRows | DatasetExamples;

/** A batch as rows, which are packed just before their step. */
export interface DatasetRows extends TrainingBatch {
  /**
   * Size to which the batch is padded. Use at most eight sizes, because a program is compiled for each, and the same size
   * for all batches of a step. Default: the requested number of rows of blockSize tokens.
   */
  readonly capacity?: Capacity;
}

/** A batch of examples for a model with inputs of its own. */
export interface DatasetExamples extends ExampleBatch {
  /** Size to which the batch is padded, as for rows. Default: the number of rows and their lengths, rounded up. */
  readonly capacity?: Capacity;
}

/** The ranges of a dataset's ids, under the names of a model's configuration. */
export interface IdRanges {
  /** Tokens are in [0, vocabSize). */
  readonly vocabSize: number;
  /** Types are in [0, nTypes); 0: no types. */
  readonly nTypes: number;
  /** Subtypes are in [0, nStypes); 0: no subtypes. */
  readonly nStypes: number;
  /** The target value without a loss. */
  readonly ignoreIndex: number;
}

/** How the sequences of a dataset begin, so that prompts can begin the same way. */
export interface SequenceStarts {
  /** The first tokens with their numbers of sequences, most frequent first; 'any' if there are more than 16. */
  readonly firstTokens:
    | readonly {
        /** Id of the token. */
        readonly token: number;
        /** Number of sequences that start with it. */
        readonly count: number;
      }[]
    | 'any';
  /** Number of given tokens before the first predicted token of a sequence, at least 1. */
  readonly promptTokens: {
    /** The smallest number over all sequences. */
    readonly least: number;
    /** The largest number over all sequences. */
    readonly most: number;
  };
}

/** A source of batches for a trainer. You can pass any object of this form. */
export interface Dataset {
  /** Largest number of tokens in a row. */
  readonly blockSize: number;
  /** The tokenizer that made its ids, if there is one; saved with checkpoints. */
  readonly tokenizer?: Tokenizer;
  /** The ranges of its ids. If given, a trainer checks them against the model before it starts. */
  readonly ids?: IdRanges;
  /** How its sequences begin, if known; saved with checkpoints, so that prompts can begin the same way. */
  readonly starts?: SequenceStarts;
  /** Describes the data that its rows depend on; a run resumes only with an equal fingerprint. */
  readonly order?: string;
  /** Whether targets are the next tokens. Only a causal model may train on those: others see the answers. */
  readonly predictsNext?: boolean;
  /**
   * Returns rows to train on. They must depend only on the request, so that a run can be repeated. Batches are drawn ahead, so
   * give each its own arrays, and don't change them afterwards.
   */
  batch(request: BatchRequest): Promise<DatasetBatch>;
  /**
   * Yields rows to evaluate on, the same at every call.
   *
   * @param rows - largest number of rows per batch.
   * @param batches - largest number of batches.
   */
  evaluationBatches(rows: number, batches: number): AsyncIterable<DatasetBatch>;
}
