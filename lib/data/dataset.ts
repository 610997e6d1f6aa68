import type { ExampleBatch } from '../models/example_rows';
import type { Capacity, TrainingBatch } from '../models/inputs';
import type { PackedBatch } from '../models/packed_batch';
import type { Tokenizer } from './tokenizer';

/** Which rows to draw: the same request always gives the same rows. */
export interface BatchRequest {
  /** An integer in [0, 2^53). */
  readonly seed: number;
  /** Optimizer step, from 0; steps that were skipped count. */
  readonly step: number;
  /** Micro-step within the step, from 0. */
  readonly microStep: number;
  /** Micro-steps of every step. Default 1. */
  readonly microSteps?: number;
  /** Rows of one micro-batch. */
  readonly rows: number;
}

/**
 * A batch of a dataset: packed, or as rows. One without rows, or whose tokens are an empty array, is left out: a step then has
 * fewer micro-batches.
 */
export type DatasetBatch = PackedBatch | DatasetRows | DatasetExamples;

/** A batch as rows, which are packed when their turn comes. */
export interface DatasetRows extends TrainingBatch {
  /**
   * What it is padded to: one of at most eight, because a program is compiled for each. All batches of a step have the
   * same. Default: the rows that were asked for, of blockSize tokens.
   */
  readonly capacity?: Capacity;
}

/** A batch of examples for a model with inputs of its own. */
export interface DatasetExamples extends ExampleBatch {
  /** What it is padded to, as for rows. Default: the rows' number and lengths, rounded up. */
  readonly capacity?: Capacity;
}

/** The ids that a dataset uses, in the terms of a model's configuration. */
export interface IdRanges {
  /** Tokens lie in [0, vocabSize). */
  readonly vocabSize: number;
  /** Types lie in [0, nTypes); 0: there are none. */
  readonly nTypes: number;
  /** Subtypes lie in [0, nStypes); 0: there are none. */
  readonly nStypes: number;
  /** The target that no loss is computed for. */
  readonly ignoreIndex: number;
}

/** How the sequences of a dataset begin: what a prompt should look like. */
export interface SequenceStarts {
  /** The first tokens and how many sequences each begins, most frequent first; 'any' when there are more than 16. */
  readonly firstTokens:
    | readonly {
        /** Its id. */
        readonly token: number;
        /** Sequences that it begins. */
        readonly count: number;
      }[]
    | 'any';
  /** Tokens that a sequence is given before the first one that it learns to predict, at least 1. */
  readonly promptTokens: {
    /** Of the sequence that is given the fewest. */
    readonly least: number;
    /** Of the sequence that is given the most. */
    readonly most: number;
  };
}

/** Where a trainer gets its batches from. Anything of this form will do. */
export interface Dataset {
  /** Tokens of a row; rows may be shorter, never longer. */
  readonly blockSize: number;
  /** How its ids came from text; saved with checkpoints when there is one. */
  readonly tokenizer?: Tokenizer;
  /** Which ids it uses; a trainer then checks at once that they are the model's. */
  readonly ids?: IdRanges;
  /** How its sequences begin, when it knows; saved with checkpoints, so that prompts can be made alike. */
  readonly starts?: SequenceStarts;
  /** Says what the order of its rows depends on beside the request; a run is resumed only with the same. */
  readonly order?: string;
  /** Whether targets are the next tokens, which only a causal model may be trained on: others see the answers. */
  readonly predictsNext?: boolean;
  /**
   * Rows to learn from. They depend on the request alone, so that a run can be repeated. Batches are drawn ahead: each has
   * arrays of its own, which you don't write to afterwards.
   */
  batch(request: BatchRequest): Promise<DatasetBatch>;
  /**
   * Rows to evaluate on, the same at every call.
   *
   * @param rows - of a batch, at most.
   * @param batches - at most.
   */
  evaluationBatches(rows: number, batches: number): AsyncIterable<DatasetBatch>;
}
