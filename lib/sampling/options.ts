import { z } from 'zod';
import { abortSignal, aFunction, taken } from '../models/argument_schemas';
import { MOST_ENTRIES, reading } from '../models/array_likes';
import { fp32 } from '../models/device_numbers';
import { integer, number, settings } from '../models/settings';
import { parseConfig } from '../models/validation';
import type { GenerateOptions } from './options.generated';
import {
  allowedByPosition,
  checkTokens,
  ConfigError,
  idList,
  textList,
  typesOf,
  type TokenTypes,
} from './option_lists';
import { TokenSet } from './token_set';

export type { TokenTypes };
export type * from './options.generated';

/** A sequence whose next token is about to be chosen, for `tokenMask`. */
export interface MaskedSequence {
  /** Index of its prompt, from 0. */
  readonly prompt: number;
  /** Its index among the sequences of the prompt (numReturnSequences, or numBeams), from 0. */
  readonly sequence: number;
  /** All its tokens so far, starting with the prompt. */
  readonly tokens: readonly number[];
}

/** Most likeliest tokens that native code returns. */
const MOST_LIKELIEST = 128;

/** Tokens of a prompt, and new ones, at most. */
export const MOST_TOKENS = 10_000_000;

/** Rows of a session at most. */
export const MOST_ROWS = 65_535;

const aMap = <T>() => taken<ReadonlyMap<number, T>>((value) => value instanceof Map, 'a Map');

/** A list or a table of lists, whose length is checked before it is read. @param type - T as text. */
const unread = <T>(type: string, what: string, imports: Readonly<Record<string, string>> = {}) =>
  z.custom<T>().optional().describe(what).register(settings, { type, imports });

const tokenTypes = (what: string) => unread<TokenTypes>('TokenTypes', what, { TokenTypes: './option_lists' });

/** Validates GenerateOptions and fills in their defaults. */
export const generateOptionsSchema = z
  .strictObject({
    maxNewTokens: integer(1, MOST_TOKENS).default(256).describe('Largest number of tokens to generate.'),
    minNewTokens: integer(0, MOST_TOKENS)
      .default(0)
      .describe('Number of tokens before `eosTokenId` and `stopTokens` can be chosen.'),
    temperature: fp32(z.number().min(0).max(1e6))
      .default(1)
      .describe('Divides logits: below 1 makes likelier tokens more likely; 0: always the likeliest token.'),
    topK: integer(0, 16_777_216)
      .default(0)
      .describe('Draws only from the k likeliest tokens (and ties with the k-th); 0: from all.'),
    topP: fp32(z.number().gt(0).max(1))
      .default(1)
      .describe(
        'Draws only from the smallest set of likeliest tokens with at least this total probability; 1: from all.',
      ),
    minP: fp32(z.number().min(0).max(1))
      .default(0)
      .describe(
        'Draws only from tokens with at least this fraction of the highest probability; 0: from all.',
      ),
    repetitionPenalty: fp32(z.number().gt(0).max(1e6))
      .default(1)
      .describe(
        'Divides positive and multiplies negative logits of tokens that have occurred, prompt included.',
      ),
    frequencyPenalty: fp32(z.number().min(-100).max(100))
      .default(0)
      .describe("Subtracted from a token's logit for each time that it was generated."),
    presencePenalty: fp32(z.number().min(-100).max(100))
      .default(0)
      .describe('Subtracted once from the logit of a token that was generated.'),
    noRepeatNgramSize: integer(0, 1_000_000)
      .default(0)
      .describe('Length of n-grams that may not repeat in a sequence, prompt included; 0: all may repeat.'),
    logitBias: aMap<number>()
      .default(new Map())
      .describe('Numbers to add to logits, by token id; −Infinity: never chosen.')
      .register(settings, { type: 'ReadonlyMap<number, number>' }),
    suppressTokens: unread<readonly number[]>('readonly number[]', 'Tokens that are never chosen.'),
    forcedTokens: aMap<number>()
      .default(new Map())
      .describe('Required tokens by position in the sequence; the prompt starts at position 0.')
      .register(settings, { type: 'ReadonlyMap<number, number>' }),
    allowedTokens: aMap<readonly number[]>()
      .default(new Map())
      .describe('Allowed tokens by position in the sequence. All tokens are allowed at other positions.')
      .register(settings, { type: 'ReadonlyMap<number, readonly number[]>' }),
    tokenMask: aFunction<(batch: readonly MaskedSequence[]) => Uint32Array>()
      .optional()
      .describe(
        'Called before each token is chosen, while the model computes its logits. Returns the allowed tokens of each sequence, ' +
          'one bit per token: token t of sequence s is bit t % 32 of word s · ⌈vocabSize / 32⌉ + ⌊t / 32⌋. Sequences that have ' +
          'ended are still listed; their words are ignored.',
      )
      .register(settings, {
        type: '(batch: readonly MaskedSequence[]) => Uint32Array',
        imports: { MaskedSequence: './options' },
      }),
    types: tokenTypes('Types in [0, nTypes). Required for a model with nTypes, else not allowed.'),
    subtypes: tokenTypes('Subtypes in [0, nStypes). Required for a model with nStypes, else not allowed.'),
    eosTokenId: unread<number | readonly number[]>(
      'number | readonly number[]',
      "Tokens that end a sequence with finishReason 'eos'; they are part of its tokens, but not of its text. Default: " +
        "`eosTokenId` of the model's configuration, else the tokenizer's token that ends a document; `[]`: none.",
    ),
    stopTokens: unread<readonly number[]>(
      'readonly number[]',
      "Tokens that end a sequence with finishReason 'stop'; they are part of its tokens, but not of its text. Default none.",
    ),
    stop: unread<string | readonly string[]>(
      'string | readonly string[]',
      "Texts that end a sequence with finishReason 'stop'; they are not part of the returned text. Default none.",
    ),
    numReturnSequences: integer(1, MOST_ROWS)
      .default(1)
      .describe(
        'Number of sequences per prompt, each with its own random numbers; the first is the same as with 1.',
      ),
    numBeams: integer(1, 64)
      .default(1)
      .describe(
        'Number of beams of beam search, which finds the likeliest sequences instead of drawing; 1: no beam search. Penalties, ' +
          "biases and allowed tokens change log-probabilities, as in Hugging Face's `generate`. Works with numReturnSequences up " +
          'to numBeams, but not with temperature, topK, topP, minP and logprobs.',
      ),
    lengthPenalty: number(-100, 100)
      .default(1)
      .describe('Ranks beams by log-probability ÷ length ^ lengthPenalty: above 0 favours long sequences.'),
    earlyStopping: z
      .union([z.boolean(), z.literal('never')])
      .default(false)
      .describe(
        "When beam search ends: true: when numBeams have ended; false: when a better one is unlikely; 'never': when a better one " +
          'is impossible.',
      ),
    logprobs: z
      .union([z.boolean(), z.int().min(0).max(20)])
      .default(false)
      .describe(
        'Also returns the log-probability of each token, and with a number from 1 to 20 that many likeliest tokens. These are ' +
          'log-probabilities of the model, before all options above; ids without a token are excluded.',
      ),
    seed: integer(0, Number.MAX_SAFE_INTEGER)
      .optional()
      .describe(
        'The same seed gives a prompt the same tokens on the same device, whatever else is generated with it; below 2^53. ' +
          'Default: different random numbers for every prompt and call.',
      ),
    signal: abortSignal
      .optional()
      .describe('Ends the generation early and returns the tokens so far.')
      .register(settings, { type: 'AbortSignal' }),
  })
  .describe("How to generate text. Defaults leave the model's own probabilities unchanged.")
  .register(settings, {
    name: 'GenerateOptions',
    synonyms: {
      maxTokens: 'maxNewTokens',
      maxOutputTokens: 'maxNewTokens',
      stopSequences: 'stop',
      stopStrings: 'stop',
      n: 'numReturnSequences',
      topLogprobs: 'logprobs',
    },
  });

type Lists = 'suppressTokens' | 'eosTokenId' | 'stopTokens' | 'stop' | 'types' | 'subtypes';

/** Options with their defaults, checked for a vocabulary; copies of the caller's data. */
export interface ResolvedOptions extends Omit<
  z.output<typeof generateOptionsSchema>,
  Lists | 'forcedTokens' | 'allowedTokens'
> {
  readonly suppressTokens: readonly number[];
  readonly eosTokens: readonly number[];
  readonly stopTokens: readonly number[];
  readonly stop: readonly string[];
  /** By position; forced tokens are sets of one. */
  readonly allowedTokens: ReadonlyMap<number, readonly number[]>;
  readonly types?: TokenTypes;
  readonly subtypes?: TokenTypes;
  /** Ids that have a token; others are never chosen. */
  readonly tokens: TokenSet;
}

/** The properties of a model to check options against. */
export interface Vocabulary {
  /** Rows of the model. */
  readonly vocabSize: number;
  readonly nTypes: number;
  readonly nStypes: number;
  /** Ids that have a token; default: all. */
  readonly tokens?: TokenSet;
  /** Tokens that end a sequence if the options name none. Default none. */
  readonly endTokens?: readonly number[];
}

/**
 * Checks the options and fills in their defaults.
 *
 * @throws TesseraeError `ERR_CONFIG`; the message names the option, its value and what is allowed.
 */
export function resolveOptions(options: GenerateOptions, vocabulary: Vocabulary): ResolvedOptions {
  return reading({ name: 'options', code: 'ERR_CONFIG' }, () => resolve(options, vocabulary));
}

function resolve(options: GenerateOptions, vocabulary: Vocabulary): ResolvedOptions {
  const { vocabSize, tokens = new TokenSet(vocabSize), endTokens = [] } = vocabulary;
  const {
    suppressTokens,
    eosTokenId,
    stopTokens,
    stop,
    forcedTokens,
    allowedTokens,
    types,
    subtypes,
    ...given
  } = parseConfig(generateOptionsSchema, options);
  const refuse = (path: string, message: string): never => {
    throw new ConfigError(path, message);
  };
  const logitBias = new Map<number, number>();
  for (const [id, bias] of given.logitBias) {
    checkTokens('logitBias', [id], vocabSize);
    const single = typeof bias === 'number' ? Math.fround(bias) : NaN;
    if (!(bias <= 1e6) || (single === -Infinity && bias !== -Infinity))
      refuse(
        'logitBias',
        `of token ${id} is ${String(bias)}: it must be −Infinity, or a number from -3.4e38 to 1e6`,
      );
    logitBias.set(id, bias);
  }
  const resolved = {
    ...given,
    logitBias,
    suppressTokens: idList('suppressTokens', suppressTokens, vocabSize),
    eosTokens: eosTokenId === undefined ? endTokens : idList('eosTokenId', eosTokenId, vocabSize),
    stopTokens: idList('stopTokens', stopTokens, vocabSize),
    stop: textList('stop', stop, MOST_ENTRIES),
    allowedTokens: allowedByPosition(allowedTokens, forcedTokens, tokens),
    tokens,
    ...typesOf('types', types, { setting: 'nTypes', count: vocabulary.nTypes, vocabSize }),
    ...typesOf('subtypes', subtypes, { setting: 'nStypes', count: vocabulary.nStypes, vocabSize }),
  };
  if (given.minNewTokens > given.maxNewTokens)
    refuse('minNewTokens', `is ${given.minNewTokens}, more than maxNewTokens ${given.maxNewTokens}`);
  if (given.numBeams > 1) checkBeams(options, resolved, refuse);
  return resolved;
}

/** Options for drawing a token, and for reports about a drawn one. */
const OF_DRAWING = ['temperature', 'topK', 'topP', 'minP', 'logprobs'] as const;

/** Refuses options that beam search does not have. */
function checkBeams(
  options: GenerateOptions,
  beams: ResolvedOptions,
  refuse: (path: string, message: string) => never,
): void {
  const { numBeams, numReturnSequences, eosTokens, stopTokens } = beams;
  for (const name of OF_DRAWING)
    if (options[name] !== undefined)
      refuse(name, `does not work with beam search (numBeams), which draws nothing`);
  if (numReturnSequences > numBeams)
    refuse(
      'numReturnSequences',
      `is ${numReturnSequences}: beam search has ${numBeams} sequences (numBeams)`,
    );
  const ends = eosTokens.length + stopTokens.length;
  const most = Math.floor(MOST_LIKELIEST / Math.max(2, 1 + ends));
  if (numBeams > most)
    refuse('numBeams', `is ${numBeams}: with ${ends} tokens that end a sequence it is at most ${most}`);
}

/**
 * @param prompts - how many there are.
 * @throws TesseraeError `ERR_CONFIG` for more sequences than can be generated side by side.
 */
export function checkRows(prompts: number, { numBeams, numReturnSequences }: ResolvedOptions): void {
  const [path, each] = numBeams > 1 ? ['numBeams', numBeams] : ['numReturnSequences', numReturnSequences];
  if (prompts * each > MOST_ROWS)
    throw new ConfigError(
      path,
      `is ${each}: with ${prompts} prompts that is ${prompts * each} sequences at once, more than ${MOST_ROWS}`,
    );
}
