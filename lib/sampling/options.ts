import { z } from 'zod';
import { TesseraeError } from '../errors';
import { abortSignal, aFunction, isArrayLike, taken } from '../models/argument_schemas';
import { parseConfig, show } from '../models/validation';

/** A sequence whose next token is about to be chosen, as `tokenMask` sees it. */
export interface MaskedSequence {
  /** Index of its prompt, from 0. */
  readonly prompt: number;
  /** Its index among the sequences of the prompt (numReturnSequences), from 0. */
  readonly sequence: number;
  /** All its tokens so far, those of the prompt first. */
  readonly tokens: readonly number[];
}

/**
 * Which type a token has: by its id (vocabSize entries), or by its position in the sequence, the first of the prompt
 * being 0. It holds for the prompt too.
 */
export type TokenTypes =
  | {
      /** Type of each token of the vocabulary. */
      readonly byToken: ArrayLike<number>;
    }
  | {
      /** Type at each position. */
      readonly byPosition: ArrayLike<number>;
    };

/** How text is generated. Defaults change nothing about the model's own probabilities. */
export interface GenerateOptions {
  /** Tokens to generate at most, 1 to 10,000,000. Default 256. */
  readonly maxNewTokens?: number;
  /** Tokens before which neither `eosTokenId` nor `stopTokens` can be chosen. Default 0. */
  readonly minNewTokens?: number;
  /** Logits are divided by it: below 1 likelier tokens win more often; 0: the likeliest always. At most 1e6; default 1. */
  readonly temperature?: number;
  /** Draws from the k likeliest tokens alone (and those that are as likely as the k-th). Default 0: from all. */
  readonly topK?: number;
  /** Draws from the fewest likeliest tokens that together have this probability, in (0, 1]. Default 1: from all. */
  readonly topP?: number;
  /** Draws from tokens that are at least this times as probable as the likeliest, in [0, 1]. Default 0: from all. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of tokens that were there, prompt included; above 0. Default 1. */
  readonly repetitionPenalty?: number;
  /** Subtracted from a token's logit each time that it was generated; −100 to 100. Default 0. */
  readonly frequencyPenalty?: number;
  /** Subtracted once from the logit of a token that was generated; −100 to 100. Default 0. */
  readonly presencePenalty?: number;
  /** No run of so many tokens comes twice, prompt included. Default 0: any may. */
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
   * Tokens that end a sequence with finishReason 'eos'; they are part of its tokens and not of its text. Default: the
   * tokenizer's token that ends a document, where it has one; `[]`: none.
   */
  readonly eosTokenId?: number | readonly number[];
  /** Likewise tokens that end it with finishReason 'stop'. */
  readonly stopTokens?: readonly number[];
  /** Texts that end a sequence with finishReason 'stop'; they are not part of the text returned. Default none. */
  readonly stop?: string | readonly string[];
  /** Sequences of each prompt; the i-th draws as the first would with seed + i. Default 1. */
  readonly numReturnSequences?: number;
  /**
   * Beam search with so many beams, 1 to 64: the likeliest sequences instead of drawn ones, by the model alone. Goes with
   * maxNewTokens, eosTokenId, stopTokens, numReturnSequences (at most numBeams), and no option that changes
   * probabilities. Default 1: no beam search.
   */
  readonly numBeams?: number;
  /** Beams are ranked by their log-probability ÷ length ^ lengthPenalty: above 0 favours long ones. Default 1. */
  readonly lengthPenalty?: number;
  /**
   * When beam search ends: true: as soon as numBeams have ended; false: when no better one is likely; 'never': when none
   * is possible. Default false.
   */
  readonly earlyStopping?: boolean | 'never';
  /**
   * Also returns the log-probability of each token, and with a number from 1 to 20 the so many likeliest ones: by the
   * model alone, before all of the above. Default false.
   */
  readonly logprobs?: boolean | number;
  /**
   * The same seed gives the same tokens on the same device, whatever is generated beside it; an integer in [0, 2^53).
   * Default: a random one.
   */
  readonly seed?: number;
  /** Ends the generation early, with what there is. */
  readonly signal?: AbortSignal;
}

/** Likeliest tokens that native code tells of. */
const MOST_LIKELIEST = 128;

const token = z.int().min(0);

const aMap = <T>() => taken<ReadonlyMap<number, T>>((value) => value instanceof Map, 'a Map');

const schema = z.strictObject({
  maxNewTokens: z.int().min(1).max(10_000_000).default(256),
  minNewTokens: z.int().min(0).max(10_000_000).default(0),
  temperature: z.number().min(0).max(1e6).default(1),
  topK: z.int().min(0).max(16_777_216).default(0),
  topP: z.number().gt(0).max(1).default(1),
  minP: z.number().min(0).max(1).default(0),
  repetitionPenalty: z.number().gt(0).max(1e6).default(1),
  frequencyPenalty: z.number().min(-100).max(100).default(0),
  presencePenalty: z.number().min(-100).max(100).default(0),
  noRepeatNgramSize: z.int().min(0).max(1_000_000).default(0),
  suppressTokens: z.array(token).default([]),
  eosTokenId: z.union([token, z.array(token)]).optional(),
  stopTokens: z.array(token).default([]),
  stop: z.union([z.string().min(1), z.array(z.string().min(1))]).default([]),
  numReturnSequences: z.int().min(1).max(65_535).default(1),
  numBeams: z.int().min(1).max(64).default(1),
  lengthPenalty: z.number().min(-100).max(100).default(1),
  earlyStopping: z.union([z.boolean(), z.literal('never')]).default(false),
  logprobs: z.union([z.boolean(), z.int().min(0).max(20)]).default(false),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  signal: abortSignal.optional(),
  tokenMask: aFunction<NonNullable<GenerateOptions['tokenMask']>>().optional(),
  logitBias: aMap<number>().default(new Map()),
  forcedTokens: aMap<number>().default(new Map()),
  allowedTokens: aMap<readonly number[]>().default(new Map()),
  // Checked with what the model has of them.
  types: z.custom<TokenTypes>().optional(),
  subtypes: z.custom<TokenTypes>().optional(),
});

const synonyms = {
  maxTokens: 'maxNewTokens',
  maxOutputTokens: 'maxNewTokens',
  stopSequences: 'stop',
  stopStrings: 'stop',
  n: 'numReturnSequences',
  topLogprobs: 'logprobs',
};

/** Options with their defaults, checked for a vocabulary. */
export interface ResolvedOptions extends Omit<
  z.output<typeof schema>,
  'eosTokenId' | 'stop' | 'forcedTokens' | 'allowedTokens' | 'types' | 'subtypes'
> {
  readonly eosTokens: readonly number[];
  readonly stop: readonly string[];
  /** By position; forced tokens are sets of one. */
  readonly allowedTokens: ReadonlyMap<number, readonly number[]>;
  readonly types?: TokenTypes;
  readonly subtypes?: TokenTypes;
}

/**
 * Checks the options and fills in their defaults.
 *
 * @param endOfText - the token that ends a document, where there is one.
 * @throws TesseraeError `ERR_CONFIG` that names the option, its value and what is allowed.
 */
export function resolveOptions(
  options: GenerateOptions,
  model: { readonly vocabSize: number; readonly nTypes: number; readonly nStypes: number },
  endOfText?: number,
): ResolvedOptions {
  const { vocabSize } = model;
  const parsed = parseConfig(schema, options, { synonyms });
  const {
    eosTokenId = endOfText ?? [],
    stop,
    forcedTokens,
    allowedTokens,
    types,
    subtypes,
    ...given
  } = parsed;
  const eosTokens = typeof eosTokenId === 'number' ? [eosTokenId] : eosTokenId;
  const refuse = (path: string, message: string): never => {
    throw new TesseraeError('ERR_CONFIG', `${path} ${message}`, { details: { path } });
  };
  const check = (path: string, ids: Iterable<unknown>): void => {
    for (const id of ids)
      if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= vocabSize)
        refuse(path, `names the token ${String(id)}: ids are integers from 0 to ${vocabSize - 1}`);
  };
  check('suppressTokens', given.suppressTokens);
  check('eosTokenId', eosTokens);
  check('stopTokens', given.stopTokens);
  check('logitBias', given.logitBias.keys());
  for (const [id, bias] of given.logitBias)
    if (typeof bias !== 'number' || Number.isNaN(bias) || bias > 1e6)
      refuse('logitBias', `of token ${id} is ${String(bias)}: it must be a number of at most 1e6`);
  const sets = new Map<number, readonly number[]>();
  const checkPosition = (path: string, position: unknown): void => {
    if (typeof position !== 'number' || !Number.isInteger(position) || position < 0)
      refuse(path, `names the position ${String(position)}: positions are integers of at least 0`);
  };
  for (const [position, ids] of allowedTokens) {
    checkPosition('allowedTokens', position);
    if (!Array.isArray(ids) || ids.length === 0)
      refuse('allowedTokens', `of position ${position} must be a list of at least one token`);
    check('allowedTokens', ids);
    sets.set(position, ids);
  }
  for (const [position, id] of forcedTokens) {
    checkPosition('forcedTokens', position);
    check('forcedTokens', [id]);
    if (sets.get(position)?.includes(id) === false)
      refuse('forcedTokens', `of position ${position} is ${id}, which allowedTokens does not allow there`);
    sets.set(position, [id]);
  }
  if (given.minNewTokens > given.maxNewTokens)
    refuse('minNewTokens', `is ${given.minNewTokens}, more than maxNewTokens ${given.maxNewTokens}`);
  if (given.numBeams > 1) checkBeams(options, { ...given, eosTokens }, refuse);
  return {
    ...given,
    eosTokens,
    stop: typeof stop === 'string' ? [stop] : stop,
    allowedTokens: sets,
    ...typesOf('types', types, 'nTypes', model.nTypes, vocabSize),
    ...typesOf('subtypes', subtypes, 'nStypes', model.nStypes, vocabSize),
  };
}

/** What beam search, which goes by the model's own probabilities, does not take. */
function checkBeams(
  options: GenerateOptions,
  beams: Pick<ResolvedOptions, 'numBeams' | 'numReturnSequences' | 'eosTokens' | 'stopTokens'>,
  refuse: (path: string, message: string) => never,
): void {
  const { numBeams, numReturnSequences, eosTokens, stopTokens } = beams;
  const taken = new Set<string>([
    ...['maxNewTokens', 'eosTokenId', 'stopTokens', 'numReturnSequences', 'numBeams', 'lengthPenalty'],
    ...['earlyStopping', 'seed', 'signal'],
  ]);
  for (const [name, value] of Object.entries(options))
    if (value !== undefined && !taken.has(name))
      refuse(name, `is given, which beam search (numBeams) does not take`);
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

/** Checks a rule for types against what the model has. */
function typesOf(
  name: 'types' | 'subtypes',
  rule: TokenTypes | undefined,
  setting: string,
  count: number,
  vocabSize: number,
): { readonly types?: TokenTypes; readonly subtypes?: TokenTypes } {
  const refuse = (message: string): never => {
    throw new TesseraeError('ERR_CONFIG', message, { details: { path: name } });
  };
  if (count === 0 && rule === undefined) return {};
  if (count === 0)
    refuse(`${name} are given, but the model has none: leave them out, or create it with ${setting}`);
  if (rule === undefined)
    return refuse(
      `${name} are missing: the model has ${setting}, so every token needs one, by its id or position`,
    );
  const given = typesIn(rule);
  if (!given) return refuse(`${name} must be { byToken: […] } or { byPosition: […] }, not ${showRule(rule)}`);
  const wrong = Array.from(given).findIndex((type) => !Number.isInteger(type) || type < 0 || type >= count);
  if (wrong >= 0)
    refuse(`${name}[${wrong}] is ${String(given[wrong])}: it must be an integer from 0 to ${count - 1}`);
  if ('byToken' in rule && given.length !== vocabSize)
    refuse(`${name}.byToken has ${given.length} entries: it must have one for each of ${vocabSize} tokens`);
  return { [name]: rule };
}

/** The list of a rule; undefined unless it has just one, under a name that is known. */
function typesIn(rule: unknown): ArrayLike<number> | undefined {
  if (typeof rule !== 'object' || rule === null) return undefined;
  const [[key, list] = [], ...more] = Object.entries(rule);
  const known = more.length === 0 && (key === 'byToken' || key === 'byPosition');
  return known && isArrayLike(list) ? (list as ArrayLike<number>) : undefined;
}

const showRule = (rule: unknown): string =>
  typeof rule === 'object' && rule !== null ? `{ ${Object.keys(rule).join(', ')} }` : show(rule);
