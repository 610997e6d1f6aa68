/** Options that are lists or tables of lists: read once, bounded, checked, and copied. */
import { TesseraeError } from '../errors';
import { isArrayLike } from '../models/argument_schemas';
import { boundedLength, MOST_ENTRIES, reading, readList } from '../models/array_likes';
import { show } from '../models/validation';
import type { TokenSet } from './token_set';

/**
 * The type of each token: by its id (vocabSize entries), or by its position in the sequence, where the prompt starts at 0.
 * Applies to the prompt too.
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

/** A mistake in an option. */
export class ConfigError extends TesseraeError {
  constructor(path: string, message: string) {
    super('ERR_CONFIG', `${path} ${message}`, { details: { path } });
  }
}

/** Most ids that an error names. */
const MOST_TOLD = 10;

const isId = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0;

/** @throws TesseraeError `ERR_CONFIG` unless all are ids of the vocabulary. */
export function checkTokens(path: string, ids: Iterable<unknown>, vocabSize: number): void {
  for (const id of ids)
    if (!isId(id) || id >= vocabSize)
      throw new ConfigError(
        path,
        `names the token ${shown(id)}: ids are integers from 0 to ${vocabSize - 1}`,
      );
}

const shown = (value: unknown): string => (typeof value === 'bigint' ? `${value}n` : show(value));

/** Reads a token id or a list of them; undefined is an empty list. */
export function idList(path: string, value: unknown, vocabSize: number): number[] {
  if (value === undefined) return [];
  const list = typeof value === 'number' ? [value] : value;
  const ids = readList(list, { name: path, path, code: 'ERR_CONFIG', most: MOST_ENTRIES }, (id, i) => {
    if (isId(id)) return id;
    const at = list === value ? `${path}[${i}]` : path;
    throw new ConfigError(at, `must be a token id, an integer of at least 0, not ${shown(id)}`);
  });
  checkTokens(path, ids, vocabSize);
  return ids;
}

/** Reads a text or a list of them; undefined is an empty list. */
export function textList(path: string, value: unknown, most: number): string[] {
  if (value === undefined) return [];
  const list = typeof value === 'string' ? [value] : value;
  return readList(list, { name: path, path, code: 'ERR_CONFIG', most }, (text, i) => {
    if (typeof text === 'string' && text !== '') return text;
    const at = list === value ? `${path}[${i}]` : path;
    throw new ConfigError(at, `must be text that is not empty, not ${show(text)}`);
  });
}

/**
 * Sets of allowed tokens by position, where positions that share a list share the set.
 *
 * @throws TesseraeError `ERR_CONFIG` for a set that is empty or names no existing token, or for forced tokens that are not
 * allowed.
 */
export function allowedByPosition(
  allowed: ReadonlyMap<number, readonly number[]>,
  forced: ReadonlyMap<number, number>,
  tokens: TokenSet,
): ReadonlyMap<number, readonly number[]> {
  const { vocabSize } = tokens;
  const sets = new Map<number, readonly number[]>();
  const known = new Map<unknown, readonly number[]>();
  const check = (path: string, position: unknown, set: readonly number[]): void => {
    if (!isId(position))
      throw new ConfigError(
        path,
        `names the position ${shown(position)}: positions are integers of at least 0`,
      );
    if (!set.some((id) => tokens.has(id)))
      throw new ConfigError(
        path,
        `of position ${position} allows no token: the tokenizer has none for ${set.slice(0, MOST_TOLD).join(', ')}${set.length > MOST_TOLD ? ', …' : ''}`,
      );
  };
  for (const [position, given] of allowed) {
    const name = `allowedTokens of position ${shown(position)}`;
    const read = (): readonly number[] => {
      if (!Array.isArray(given) || given.length === 0)
        throw new ConfigError(
          'allowedTokens',
          `of position ${shown(position)} must be a list of at least one token`,
        );
      const ids = readList(
        given,
        { name, path: 'allowedTokens', code: 'ERR_CONFIG', most: vocabSize },
        (id) => id as number,
      );
      checkTokens('allowedTokens', ids, vocabSize);
      return ids;
    };
    const set = known.get(given) ?? read();
    known.set(given, set);
    check('allowedTokens', position, set);
    sets.set(position, set);
  }
  for (const [position, id] of forced) {
    checkTokens('forcedTokens', [id], vocabSize);
    const set = known.get(id) ?? [id];
    known.set(id, set);
    check('forcedTokens', position, set);
    if (sets.get(position)?.includes(id) === false)
      throw new ConfigError(
        'forcedTokens',
        `of position ${position} is ${id}, which allowedTokens does not allow there`,
      );
    sets.set(position, set);
  }
  return sets;
}

/** Reads a rule for types and checks it against what the model has. */
export function typesOf(
  name: 'types' | 'subtypes',
  rule: unknown,
  model: { readonly setting: string; readonly count: number; readonly vocabSize: number },
): { readonly types?: TokenTypes; readonly subtypes?: TokenTypes } {
  const { setting, count, vocabSize } = model;
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
  const given = reading({ name, path: name, code: 'ERR_CONFIG' }, () => typesIn(rule));
  if (!given) return refuse(`${name} must be { byToken: […] } or { byPosition: […] }, not ${showRule(rule)}`);
  const [by, list] = given;
  const rules = { name: `${name}.${by}`, path: name, code: 'ERR_CONFIG', most: MOST_ENTRIES } as const;
  const length = boundedLength(list, rules);
  if (by === 'byToken' && length !== vocabSize)
    refuse(`${name}.byToken has ${length} entries: it must have one for each of ${vocabSize} tokens`);
  const types = readList(list, rules, (type, i) => {
    if (isId(type) && type < count) return type;
    return refuse(`${name}[${i}] is ${shown(type)}: it must be an integer from 0 to ${count - 1}`);
  });
  return { [name]: { [by]: types } };
}

/** The list of a rule and its name; undefined unless it has exactly one, under a known name. */
function typesIn(rule: unknown): ['byToken' | 'byPosition', ArrayLike<unknown>] | undefined {
  if (typeof rule !== 'object' || rule === null) return undefined;
  const [[key, list] = [], ...more] = Object.entries(rule) as [string, unknown][];
  const isKnown = more.length === 0 && (key === 'byToken' || key === 'byPosition');
  return isKnown && isArrayLike(list) ? [key, list] : undefined;
}

const showRule = (rule: unknown): string =>
  typeof rule === 'object' && rule !== null ? `{ ${Object.keys(rule).join(', ')} }` : show(rule);
