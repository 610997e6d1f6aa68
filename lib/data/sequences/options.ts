import { z } from 'zod';
import type { IdRanges } from '../dataset';

/** The rules for sequences. Take the first four from the model's configuration. */
export interface SequenceOptions extends Partial<IdRanges> {
  /** Token ids are in [0, vocabSize). */
  readonly vocabSize: number;
  /** Types are in [0, nTypes). Default 0: sequences have no types. */
  readonly nTypes?: number;
  /** Subtypes are in [0, nStypes). Default 0: sequences have no subtypes. */
  readonly nStypes?: number;
  /** The target value without a loss; negative. Default -100. */
  readonly ignoreIndex?: number;
  /** Tokens per row: at most the nPositions of the model. */
  readonly blockSize: number;
  /** Whether to truncate sequences of more than blockSize tokens. Default false: they are errors. */
  readonly truncation?: boolean;
}

const size = (least: number) =>
  z
    .int()
    .min(least)
    .max(2 ** 31 - 1);

/** Names of these options in other libraries. */
export const sequenceSynonyms = { mode: 'batching', truncate: 'truncation' };

/** Shape of SequenceOptions, which each function extends with options of its own. */
export const sequenceOptionsSchema = z.strictObject({
  vocabSize: size(1),
  nTypes: size(0).default(0),
  nStypes: size(0).default(0),
  ignoreIndex: z
    .int()
    .min(-(2 ** 31))
    .max(-1)
    .default(-100),
  blockSize: z
    .int()
    .min(1)
    .max(2 ** 20),
  truncation: z.boolean().default(false),
});
