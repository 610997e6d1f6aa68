import { z } from 'zod';
import type { IdRanges } from '../dataset';

/** What sequences have to be; take the first four from the model's configuration. */
export interface SequenceOptions extends Partial<IdRanges> {
  /** Token ids lie in [0, vocabSize). */
  readonly vocabSize: number;
  /** Types lie in [0, nTypes). Default 0: sequences have none. */
  readonly nTypes?: number;
  /** Subtypes lie in [0, nStypes). Default 0: sequences have none. */
  readonly nStypes?: number;
  /** What stands in targets for no loss; negative. Default -100. */
  readonly ignoreIndex?: number;
  /** Tokens of a row: at most the nPositions of the model that is trained. */
  readonly blockSize: number;
  /** Whether a sequence of more than blockSize tokens is cut to its first ones. Default false: it is an error. */
  readonly truncation?: boolean;
}

const size = (least: number) =>
  z
    .int()
    .min(least)
    .max(2 ** 31 - 1);

/** What other libraries call these options. */
export const sequenceSynonyms = { mode: 'batching', truncate: 'truncation' };

/** Shape of SequenceOptions, to which each way of opening adds its own. */
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
