/** Turns options into the features and arrays of native code. */
import { TesseraeError } from '../errors';
import type { SessionOptions } from '../native';
import type { ResolvedOptions, TokenTypes } from './options';

/** Words of a set of tokens, a bit a token. */
export const maskWords = (vocabSize: number): number => Math.ceil(vocabSize / 32);

/** A row of a session: a sequence and the part of it that the session reads. */
export interface RowContext {
  /** All its tokens so far. */
  readonly tokens: readonly number[];
  /** The last tokens, which the session reads. */
  readonly context: readonly number[];
  /** Its largest position, exclusive. */
  readonly last: number;
}

/** Position in its sequence of the first token that the session reads. */
const offsetOf = ({ tokens, context }: RowContext): number => tokens.length - context.length;

/** Whether repeated n-grams are found here, because native code only sees those in the context. */
export const hasLongMemory = (options: ResolvedOptions, rows: readonly RowContext[]): boolean =>
  options.noRepeatNgramSize > 0 && rows.some((row) => offsetOf(row) > 0);

/** A session's options and arrays, and the types of the prompts' tokens. */
export function sessionInputs(
  options: ResolvedOptions,
  model: { readonly vocabSize: number; readonly nPositions: number },
  rows: readonly RowContext[],
): Required<Pick<SessionOptions, 'endTokens' | 'stopTokens' | 'features' | 'arrays'>> & {
  readonly promptTypes: (time: number) => Readonly<Record<string, Int32Array>>;
} {
  const { vocabSize, nPositions: capacity } = model;
  const { repetitionPenalty, frequencyPenalty, presencePenalty, topK, topP, minP, logprobs } = options;
  const known = knownOf(options);
  const bias = biasOf(options, vocabSize);
  const sets = setsOf(options, vocabSize, capacity, rows);
  const types = typeTables(options, vocabSize, capacity, rows);
  const longMemory = hasLongMemory(options, rows);
  const penalties = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  return {
    endTokens: options.eosTokens,
    stopTokens: options.stopTokens,
    features: {
      known: known !== undefined,
      bias: bias !== undefined,
      mask: options.tokenMask !== undefined || longMemory,
      sets: sets?.room ?? 0,
      minimum: options.minNewTokens > 0 && options.eosTokens.length + options.stopTokens.length > 0,
      penalties,
      ngrams: options.noRepeatNgramSize > 0 && !longMemory,
      filter: options.temperature > 0 && (topK > 0 || topP < 1 || minP > 0),
      logProbs: logprobs === false ? -1 : Number(logprobs === true ? 0 : logprobs),
    },
    arrays: {
      ...(known ? { known } : {}),
      ...(bias ? { bias } : {}),
      ...(sets ? { sets: sets.sets, setAt: sets.setAt } : {}),
      ...(penalties ? pastOf(rows) : {}),
      ...types.arrays,
    },
    promptTypes: types.prompt,
  };
}

/** 0 for each token and −∞ for each id without one, (vocabSize); undefined where all have one. */
function knownOf({ tokens }: ResolvedOptions): Float32Array | undefined {
  if (tokens.isWhole) return undefined;
  return new Float32Array(tokens.vocabSize).map((_, id) => (tokens.has(id) ? 0 : -Infinity));
}

/** Biases and suppressed tokens, (vocabSize); undefined if there are none. */
function biasOf(options: ResolvedOptions, vocabSize: number): Float32Array | undefined {
  if (options.logitBias.size + options.suppressTokens.length === 0) return undefined;
  const bias = new Float32Array(vocabSize);
  for (const [id, value] of options.logitBias) bias[id] = value;
  for (const id of options.suppressTokens) bias[id] = -Infinity;
  return bias;
}

/** Tokens that have left the context, which penalties count. */
function pastOf(rows: readonly RowContext[]): { past: Int32Array; pastLengths: Int32Array } {
  const pastLengths = Int32Array.from(rows, offsetOf);
  const past = new Int32Array(pastLengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    const length = offsetOf(row);
    for (let i = 0; i < length; i++) past[at++] = row.tokens[i] ?? 0;
  }
  return { past, pastLengths };
}

/** Sets of allowed tokens, the set for each position of each row, and the room for sets; undefined if no row has one. */
function setsOf(
  { allowedTokens }: ResolvedOptions,
  vocabSize: number,
  capacity: number,
  rows: readonly RowContext[],
): { sets: Int32Array; setAt: Int32Array; room: number } | undefined {
  if (allowedTokens.size === 0) return undefined;
  const words = maskWords(vocabSize);
  // A full context may be followed by one more token: the last that the session chooses.
  const places = capacity + 1;
  const setAt = new Int32Array(rows.length * places).fill(-1);
  const known = new Map<readonly number[], number>();
  rows.forEach((row, r) => {
    const offset = offsetOf(row);
    for (let at = row.context.length; at < places; at++) {
      const ids = allowedTokens.get(offset + at);
      if (!ids) continue;
      const set = known.get(ids) ?? known.size;
      known.set(ids, set);
      setAt[r * places + at] = set;
    }
  });
  if (known.size === 0) return undefined;
  const sets = new Int32Array(known.size * words);
  for (const [ids, set] of known) {
    for (const id of ids) {
      const at = set * words + Math.floor(id / 32);
      sets[at] = (sets[at] ?? 0) | (1 << (id % 32));
    }
  }
  // Few sizes, so that sessions share programs.
  return { sets, setAt, room: 2 ** Math.ceil(Math.log2(known.size)) };
}

/** The type of one token. */
function typeOf(name: string, rule: TokenTypes, token: number, position: number): number {
  const type = 'byToken' in rule ? rule.byToken[token] : rule.byPosition[position];
  if (type !== undefined) return type;
  throw new TesseraeError(
    'ERR_CONFIG',
    `${name}.byPosition has no entry for position ${position}: it must reach to the last token of the longest sequence`,
    { details: { path: name } },
  );
}

/** Types of the tokens of prompts, and tables of those to come. */
function typeTables(
  options: ResolvedOptions,
  vocabSize: number,
  capacity: number,
  rows: readonly RowContext[],
): {
  readonly arrays: Readonly<Record<string, Int32Array>>;
  readonly prompt: (time: number) => Readonly<Record<string, Int32Array>>;
} {
  const rules = (['types', 'subtypes'] as const).flatMap((name) => {
    const rule = options[name];
    return rule ? [[name, rule] as const] : [];
  });
  const arrays: Record<string, Int32Array> = {};
  for (const [name, rule] of rules) {
    arrays[`${name}Of`] = 'byToken' in rule ? Int32Array.from(rule.byToken) : new Int32Array(vocabSize);
    const at = new Int32Array(rows.length * capacity).fill(-1);
    if ('byPosition' in rule)
      rows.forEach((one, row) => {
        const offset = offsetOf(one);
        for (let i = 0; i < capacity && offset + i < one.last; i++)
          at[row * capacity + i] = typeOf(name, rule, 0, offset + i);
      });
    arrays[`${name}At`] = at;
  }
  const prompt = (time: number): Record<string, Int32Array> =>
    Object.fromEntries(
      rules.map(([name, rule]) => {
        const values = new Int32Array(rows.length * time);
        rows.forEach((one, row) => {
          const offset = offsetOf(one);
          one.context.forEach((token, i) => {
            values[row * time + i] = typeOf(name, rule, token, offset + i);
          });
        });
        return [name, values];
      }),
    );
  return { arrays, prompt };
}
