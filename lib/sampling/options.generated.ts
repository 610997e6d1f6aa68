// Generated from the schemas of options.ts by 'npm run settings': change them instead.

import type { TokenTypes } from './option_lists';
import type { MaskedSequence } from './options';

/** How text is generated. Defaults change nothing about the model's own probabilities. */
export interface GenerateOptions {
  /** Tokens to generate at most. An integer from 1 to 10,000,000. Default 256. */
  readonly maxNewTokens?: number;
  /**
   * Tokens before which neither `eosTokenId` nor `stopTokens` can be chosen. An integer from 0 to 10,000,000. Default
   * 0.
   */
  readonly minNewTokens?: number;
  /**
   * Logits are divided by it: below 1 likelier tokens win more often; 0: the likeliest always. A number from 0 to
   * 1,000,000. Default 1.
   */
  readonly temperature?: number;
  /**
   * Draws from the k likeliest tokens alone (and those that are as likely as the k-th); 0: from all. An integer from 0
   * to 2^24. Default 0.
   */
  readonly topK?: number;
  /**
   * Draws from the fewest likeliest tokens that together have this probability; 1: from all. A number above 0 to 1.
   * Default 1.
   */
  readonly topP?: number;
  /**
   * Draws from tokens that are at least this times as probable as the likeliest; 0: from all. A number from 0 to 1.
   * Default 0.
   */
  readonly minP?: number;
  /**
   * Divides positive and multiplies negative logits of tokens that were there, prompt included. A number above 0 to
   * 1,000,000. Default 1.
   */
  readonly repetitionPenalty?: number;
  /** Subtracted from a token's logit each time that it was generated. A number from -100 to 100. Default 0. */
  readonly frequencyPenalty?: number;
  /** Subtracted once from the logit of a token that was generated. A number from -100 to 100. Default 0. */
  readonly presencePenalty?: number;
  /**
   * No run of so many tokens comes twice in a sequence, prompt included; 0: any may. An integer from 0 to 1,000,000.
   * Default 0.
   */
  readonly noRepeatNgramSize?: number;
  /** Added to logits, by token id; −Infinity: never chosen. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** Tokens that are never chosen. */
  readonly suppressTokens?: readonly number[];
  /** Tokens that must stand at a position of the sequence; the first of the prompt has position 0. */
  readonly forcedTokens?: ReadonlyMap<number, number>;
  /** Tokens of which one must stand at a position. Positions that are not named take any. */
  readonly allowedTokens?: ReadonlyMap<number, readonly number[]>;
  /**
   * Called before each token is chosen, while the model computes its logits: the tokens allowed to each sequence, a bit
   * each: token t of sequence s is bit t % 32 of word s · ⌈vocabSize / 32⌉ + ⌊t / 32⌋. Sequences that have ended are
   * still listed; their words do not matter.
   */
  readonly tokenMask?: (batch: readonly MaskedSequence[]) => Uint32Array;
  /** For a model with nTypes, which needs it: types in [0, nTypes). */
  readonly types?: TokenTypes;
  /** For a model with nStypes, which needs it: subtypes in [0, nStypes). */
  readonly subtypes?: TokenTypes;
  /**
   * Tokens that end a sequence with finishReason 'eos'; they are part of its tokens and not of its text. Default:
   * `eosTokenId` of the model's configuration, else the tokenizer's token that ends a document; `[]`: none.
   */
  readonly eosTokenId?: number | readonly number[];
  /**
   * Tokens that end a sequence with finishReason 'stop'; they are part of its tokens and not of its text. Default none.
   */
  readonly stopTokens?: readonly number[];
  /** Texts that end a sequence with finishReason 'stop'; they are not part of the text returned. Default none. */
  readonly stop?: string | readonly string[];
  /**
   * Sequences of each prompt, each with random numbers of its own; the first is what 1 would give. An integer from 1 to
   * 65,535. Default 1.
   */
  readonly numReturnSequences?: number;
  /**
   * Beam search with so many beams: the likeliest sequences instead of drawn ones; 1: no beam search. Penalties, biases
   * and what is allowed change log-probabilities, as in Hugging Face's `generate`. Goes with numReturnSequences up to
   * numBeams, and not with temperature, topK, topP, minP and logprobs. An integer from 1 to 64. Default 1.
   */
  readonly numBeams?: number;
  /**
   * Beams are ranked by their log-probability ÷ length ^ lengthPenalty: above 0 favours long ones. A number from -100
   * to 100. Default 1.
   */
  readonly lengthPenalty?: number;
  /**
   * When beam search ends: true: as soon as numBeams have ended; false: when no better one is likely; 'never': when
   * none is possible. Default false.
   */
  readonly earlyStopping?: boolean | 'never';
  /**
   * Also returns the log-probability of each token, and with a number from 1 to 20 the so many likeliest ones: by the
   * model alone, before all of the above; ids without a token count as if the model had none of them. Default false.
   */
  readonly logprobs?: boolean | number;
  /**
   * The same seed gives a prompt the same tokens on the same device, whatever is generated beside it; below 2^53. An
   * integer of at least 0. Default: random numbers that no other prompt and no other call has.
   */
  readonly seed?: number;
  /** Ends the generation early, with what there is. */
  readonly signal?: AbortSignal;
}
