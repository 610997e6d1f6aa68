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

/** A sequence whose next token is about to be chosen, as `tokenMask` sees it. */
export interface MaskedSequence {
  /** Index of its prompt, from 0. */
  readonly prompt: number;
  /** Its index among the sequences of the prompt (numReturnSequences, or numBeams), from 0. */
  readonly sequence: number;
  /** All its tokens so far, those of the prompt first. */
  readonly tokens: readonly number[];
}

/** Likeliest tokens that native code tells of. */
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
    maxNewTokens: integer(1, MOST_TOKENS).default(256).describe('Tokens to generate at most.'),
    minNewTokens: integer(0, MOST_TOKENS)
      .default(0)
      .describe('Tokens before which neither `eosTokenId` nor `stopTokens` can be chosen.'),
    temperature: fp32(z.number().min(0).max(1e6))
      .default(1)
      .describe('Logits are divided by it: below 1 likelier tokens win more often; 0: the likeliest always.'),
    topK: integer(0, 16_777_216)
      .default(0)
      .describe(
        'Draws from the k likeliest tokens alone (and those that are as likely as the k-th); 0: from all.',
      ),
    topP: fp32(z.number().gt(0).max(1))
      .default(1)
      .describe('Draws from the fewest likeliest tokens that together have this probability; 1: from all.'),
    minP: fp32(z.number().min(0).max(1))
      .default(0)
      .describe('Draws from tokens that are at least this times as probable as the likeliest; 0: from all.'),
    repetitionPenalty: fp32(z.number().gt(0).max(1e6))
      .default(1)
      .describe(
        'Divides positive and multiplies negative logits of tokens that were there, prompt included.',
      ),
    frequencyPenalty: fp32(z.number().min(-100).max(100))
      .default(0)
      .describe("Subtracted from a token's logit each time that it was generated."),
    presencePenalty: fp32(z.number().min(-100).max(100))
      .default(0)
      .describe('Subtracted once from the logit of a token that was generated.'),
    noRepeatNgramSize: integer(0, 1_000_000)
      .default(0)
      .describe('No run of so many tokens comes twice in a sequence, prompt included; 0: any may.'),
    logitBias: aMap<number>()
      .default(new Map())
      .describe('Added to logits, by token id; −Infinity: never chosen.')
      .register(settings, { type: 'ReadonlyMap<number, number>' }),
    suppressTokens: unread<readonly number[]>('readonly number[]', 'Tokens that are never chosen.'),
    forcedTokens: aMap<number>()
      .default(new Map())
      .describe(
        'Tokens that must stand at a position of the sequence; the first of the prompt has position 0.',
      )
      .register(settings, { type: 'ReadonlyMap<number, number>' }),
    allowedTokens: aMap<readonly number[]>()
      .default(new Map())
      .describe('Tokens of which one must stand at a position. Positions that are not named take any.')
      .register(settings, { type: 'ReadonlyMap<number, readonly number[]>' }),
    tokenMask: aFunction<(batch: readonly MaskedSequence[]) => Uint32Array>()
      .optional()
      .describe(
        'Called before each token is chosen, while the model computes its logits: the tokens allowed to each sequence, a bit ' +
          'each: token t of sequence s is bit t % 32 of word s · ⌈vocabSize / 32⌉ + ⌊t / 32⌋. Sequences that have ended are ' +
          'still listed; their words do not matter.',
      )
      .register(settings, {
        type: '(batch: readonly MaskedSequence[]) => Uint32Array',
        imports: { MaskedSequence: './options' },
      }),
    types: tokenTypes('For a model with nTypes, which needs it: types in [0, nTypes).'),
    subtypes: tokenTypes('For a model with nStypes, which needs it: subtypes in [0, nStypes).'),
    eosTokenId: unread<number | readonly number[]>(
      'number | readonly number[]',
      "Tokens that end a sequence with finishReason 'eos'; they are part of its tokens and not of its text. Default: " +
        "`eosTokenId` of the model's configuration, else the tokenizer's token that ends a document; `[]`: none.",
    ),
    stopTokens: unread<readonly number[]>(
      'readonly number[]',
      "Tokens that end a sequence with finishReason 'stop'; they are part of its tokens and not of its text. Default none.",
    ),
    stop: unread<string | readonly string[]>(
      'string | readonly string[]',
      "Texts that end a sequence with finishReason 'stop'; they are not part of the text returned. Default none.",
    ),
    numReturnSequences: integer(1, MOST_ROWS)
      .default(1)
      .describe(
        'Sequences of each prompt, each with random numbers of its own; the first is what 1 would give.',
      ),
    numBeams: integer(1, 64)
      .default(1)
      .describe(
        'Beam search with so many beams: the likeliest sequences instead of drawn ones; 1: no beam search. Penalties, biases ' +
          "and what is allowed change log-probabilities, as in Hugging Face's `generate`. Goes with numReturnSequences up to " +
          'numBeams, and not with temperature, topK, topP, minP and logprobs.',
      ),
    lengthPenalty: number(-100, 100)
      .default(1)
      .describe(
        'Beams are ranked by their log-probability ÷ length ^ lengthPenalty: above 0 favours long ones.',
      ),
    earlyStopping: z
      .union([z.boolean(), z.literal('never')])
      .default(false)
      .describe(
        "When beam search ends: true: as soon as numBeams have ended; false: when no better one is likely; 'never': when none " +
          'is possible.',
      ),
    logprobs: z
      .union([z.boolean(), z.int().min(0).max(20)])
      .default(false)
      .describe(
        'Also returns the log-probability of each token, and with a number from 1 to 20 the so many likeliest ones: by the ' +
          'model alone, before all of the above; ids without a token count as if the model had none of them.',
      ),
    seed: integer(0, Number.MAX_SAFE_INTEGER)
      .optional()
      .describe(
        'The same seed gives a prompt the same tokens on the same device, whatever is generated beside it; below 2^53. ' +
          'Default: random numbers that no other prompt and no other call has.',
      ),
    signal: abortSignal
      .optional()
      .describe('Ends the generation early, with what there is.')
      .register(settings, { type: 'AbortSignal' }),
  })
  .describe("How text is generated. Defaults change nothing about the model's own probabilities.")
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

/** Options with their defaults, checked for a vocabulary; nothing of them is the caller's. */
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
  /** Ids that have a token: no other is chosen. */
  readonly tokens: TokenSet;
}

/** What options are checked against. */
export interface Vocabulary {
  /** Rows of the model. */
  readonly vocabSize: number;
  readonly nTypes: number;
  readonly nStypes: number;
  /** Ids that have a token; default: all. */
  readonly tokens?: TokenSet;
  /** Tokens that end a sequence where the options don't say. Default none. */
  readonly endTokens?: readonly number[];
}

/**
 * Checks the options and fills in their defaults.
 *
 * @throws TesseraeError `ERR_CONFIG` that names the option, its value and what is allowed.
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

/** Options that say how a token is drawn, and what is told of a drawn one. */
const OF_DRAWING = ['temperature', 'topK', 'topP', 'minP', 'logprobs'] as const;

/** What beam search does not take. */
function checkBeams(
  options: GenerateOptions,
  beams: ResolvedOptions,
  refuse: (path: string, message: string) => never,
): void {
  const { numBeams, numReturnSequences, eosTokens, stopTokens } = beams;
  for (const name of OF_DRAWING)
    if (options[name] !== undefined)
      refuse(name, `is given, which beam search (numBeams) does not take: it draws nothing`);
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
      `is ${each}: with ${prompts} prompts that is ${prompts * each} sequences side by side, more than ${MOST_ROWS}`,
    );
}
