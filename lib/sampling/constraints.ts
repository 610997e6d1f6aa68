/** What options ask of native code: which features, and the arrays that they read. */
import { TesseraeError } from '../errors';
import type { SessionOptions } from '../native';
import type { ResolvedOptions, TokenTypes } from './options';

/** Words of a set of tokens, a bit a token. */
export const maskWords = (vocabSize: number): number => Math.ceil(vocabSize / 32);

/** What of a session is the same for all rows. */
export function sessionOptions(
  options: ResolvedOptions,
  vocabSize: number,
): Pick<SessionOptions, 'endTokens' | 'stopTokens' | 'features'> {
  const { repetitionPenalty, frequencyPenalty, presencePenalty, topK, topP, minP } = options;
  const { logprobs } = options;
  const ends = options.eosTokens.length + options.stopTokens.length > 0;
  return {
    endTokens: options.eosTokens,
    stopTokens: options.stopTokens,
    features: {
      bias: biasOf(options, vocabSize) !== undefined,
      mask: options.tokenMask !== undefined,
      sets: options.allowedTokens.size > 0,
      minimum: options.minNewTokens > 0 && ends,
      penalties: repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0,
      ngrams: options.noRepeatNgramSize > 0,
      filter: options.temperature > 0 && (topK > 0 || topP < 1 || minP > 0),
      logProbs: logprobs === false ? -1 : Number(logprobs === true ? 0 : logprobs),
    },
  };
}

/** Biases and suppressed tokens, (vocabSize); undefined when there are none. */
export function biasOf(options: ResolvedOptions, vocabSize: number): Float32Array | undefined {
  if (options.logitBias.size + options.suppressTokens.length === 0) return undefined;
  const bias = new Float32Array(vocabSize);
  for (const [id, value] of options.logitBias) bias[id] = value;
  for (const id of options.suppressTokens) bias[id] = -Infinity;
  return bias;
}

/**
 * Sets of allowed tokens and which one each row's positions take.
 *
 * @param offsets - of each row, the sequence's position of the first one in the cache.
 * @returns undefined when no position has a set.
 */
export function setsOf(
  options: ResolvedOptions,
  vocabSize: number,
  capacity: number,
  offsets: readonly number[],
): { sets: Int32Array; setAt: Int32Array } | undefined {
  if (options.allowedTokens.size === 0) return undefined;
  const words = maskWords(vocabSize);
  const setAt = new Int32Array(offsets.length * capacity).fill(-1);
  const known = new Map<readonly number[], number>();
  offsets.forEach((offset, row) => {
    for (const [position, ids] of options.allowedTokens) {
      const at = position - offset;
      if (at < 0 || at >= capacity) continue;
      const set = known.get(ids) ?? known.size;
      known.set(ids, set);
      setAt[row * capacity + at] = set;
    }
  });
  const sets = new Int32Array(known.size * words);
  for (const [ids, set] of known) {
    for (const id of ids) {
      const at = set * words + Math.floor(id / 32);
      sets[at] = (sets[at] ?? 0) | (1 << (id % 32));
    }
  }
  return { sets, setAt };
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

/**
 * Types of the tokens of prompts, and tables of those to come.
 *
 * @param contexts - tokens of each row, whose first one has position `offsets[row]` of its sequence.
 * @param last - positions that each row may reach, exclusive.
 */
export function typeTables(
  options: ResolvedOptions,
  vocabSize: number,
  capacity: number,
  rows: readonly { readonly context: readonly number[]; readonly offset: number; readonly last: number }[],
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
      rows.forEach(({ offset, last }, row) => {
        for (let i = 0; i < capacity && offset + i < last; i++)
          at[row * capacity + i] = typeOf(name, rule, 0, offset + i);
      });
    arrays[`${name}At`] = at;
  }
  const prompt = (time: number): Record<string, Int32Array> =>
    Object.fromEntries(
      rules.map(([name, rule]) => {
        const values = new Int32Array(rows.length * time);
        rows.forEach(({ context, offset }, row) => {
          context.forEach((token, i) => {
            values[row * time + i] = typeOf(name, rule, token, offset + i);
          });
        });
        return [name, values];
      }),
    );
  return { arrays, prompt };
}
