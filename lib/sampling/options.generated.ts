// Generated from the schemas of options.ts by 'npm run settings': change them instead.

import type { TokenTypes } from './option_lists';
import type { MaskedSequence } from './options';

/** How to generate text. Defaults leave the model's own probabilities unchanged. */
export interface GenerateOptions {
  /** Largest number of tokens to generate. An integer from 1 to 10,000,000. Default 256. */
  readonly maxNewTokens?: number;
  /**
   * Number of tokens before `eosTokenId` and `stopTokens` can be chosen. An integer from 0 to 10,000,000. Default 0.
   */
  readonly minNewTokens?: number;
  /**
   * Divides logits: below 1 makes likelier tokens more likely; 0: always the likeliest token. A number from 0 to
   * 1,000,000. Default 1.
   */
  readonly temperature?: number;
  /**
   * Draws only from the k likeliest tokens (and ties with the k-th); 0: from all. An integer from 0 to 2^24. Default 0.
   */
  readonly topK?: number;
  /**
   * Draws only from the smallest set of likeliest tokens with at least this total probability; 1: from all. A number
   * above 0 to 1. Default 1.
   */
  readonly topP?: number;
  /**
   * Draws only from tokens with at least this fraction of the highest probability; 0: from all. A number from 0 to 1.
   * Default 0.
   */
  readonly minP?: number;
  /**
   * Divides positive and multiplies negative logits of tokens that have occurred, prompt included. A number above 0 to
   * 1,000,000. Default 1.
   */
  readonly repetitionPenalty?: number;
  /** Subtracted from a token's logit for each time that it was generated. A number from -100 to 100. Default 0. */
  readonly frequencyPenalty?: number;
  /** Subtracted once from the logit of a token that was generated. A number from -100 to 100. Default 0. */
  readonly presencePenalty?: number;
  /**
   * Length of n-grams that may not repeat in a sequence, prompt included; 0: all may repeat. An integer from 0 to
   * 1,000,000. Default 0.
   */
  readonly noRepeatNgramSize?: number;
  /** Numbers to add to logits, by token id; −Infinity: never chosen. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** Tokens that are never chosen. */
  readonly suppressTokens?: readonly number[];
  /** Required tokens by position in the sequence; the prompt starts at position 0. */
  readonly forcedTokens?: ReadonlyMap<number, number>;
  /** Allowed tokens by position in the sequence. All tokens are allowed at other positions. */
  readonly allowedTokens?: ReadonlyMap<number, readonly number[]>;
  /**
   * Called before each token is chosen, while the model computes its logits. Returns the allowed tokens of each
   * sequence, one bit per token: token t of sequence s is bit t % 32 of word s · ⌈vocabSize / 32⌉ + ⌊t / 32⌋. Sequences
   * that have ended are still listed; their words are ignored.
   */
  readonly tokenMask?: (batch: readonly MaskedSequence[]) => Uint32Array;
  /** Types in [0, nTypes). Required for a model with nTypes, else not allowed. */
  readonly types?: TokenTypes;
  /** Subtypes in [0, nStypes). Required for a model with nStypes, else not allowed. */
  readonly subtypes?: TokenTypes;
  /**
   * Tokens that end a sequence with finishReason 'eos'; they are part of its tokens, but not of its text. Default:
   * `eosTokenId` of the model's configuration, else the tokenizer's token that ends a document; `[]`: none.
   */
  readonly eosTokenId?: number | readonly number[];
  /**
   * Tokens that end a sequence with finishReason 'stop'; they are part of its tokens, but not of its text. Default
   * none.
   */
  readonly stopTokens?: readonly number[];
  /** Texts that end a sequence with finishReason 'stop'; they are not part of the returned text. Default none. */
  readonly stop?: string | readonly string[];
  /**
   * Number of sequences per prompt, each with its own random numbers; the first is the same as with 1. An integer from
   * 1 to 65,535. Default 1.
   */
  readonly numReturnSequences?: number;
  /**
   * Number of beams of beam search, which finds the likeliest sequences instead of drawing; 1: no beam search.
   * Penalties, biases and allowed tokens change log-probabilities, as in Hugging Face's `generate`. Works with
   * numReturnSequences up to numBeams, but not with temperature, topK, topP, minP and logprobs. An integer from 1 to
   * 64. Default 1.
   */
  readonly numBeams?: number;
  /**
   * Ranks beams by log-probability ÷ length ^ lengthPenalty: above 0 favours long sequences. A number from -100 to 100.
   * Default 1.
   */
  readonly lengthPenalty?: number;
  /**
   * When beam search ends: true: when numBeams have ended; false: when a better one is unlikely; 'never': when a better
   * one is impossible. Default false.
   */
  readonly earlyStopping?: boolean | 'never';
  /**
   * Also returns the log-probability of each token, and with a number from 1 to 20 that many likeliest tokens. These
   * are log-probabilities of the model, before all options above; ids without a token are excluded. Default false.
   */
  readonly logprobs?: boolean | number;
  /**
   * The same seed gives a prompt the same tokens on the same device, whatever else is generated with it; below 2^53. An
   * integer of at least 0. Default: different random numbers for every prompt and call.
   */
  readonly seed?: number;
  /** Ends the generation early and returns the tokens so far. */
  readonly signal?: AbortSignal;
}
