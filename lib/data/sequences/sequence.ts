import { types } from 'node:util';
import { nearestName, show } from '../../models/validation';
import type { TokenValues } from '../../models/inputs';
import type { IdRanges } from '../dataset';

/** A sequence to train on: a line of a JSONL file, or an object in memory. */
export interface Sequence {
  /** Token ids in [0, vocabSize), at least one. */
  readonly tokens: TokenValues;
  /** Type of each token, in [0, nTypes). Required if nTypes is above 0, else not allowed. */
  readonly types?: TokenValues;
  /** Subtype of each token, in [0, nStypes). Required if nStypes is above 0, else not allowed. */
  readonly subtypes?: TokenValues;
  /**
   * 1 for a token that the model learns to predict, 0 for a given token, such as a condition. Default: 1 everywhere. The
   * first token is never predicted.
   */
  readonly lossMask?: TokenValues;
  /**
   * The target of each position, if it is not the next token: in [0, vocabSize), or ignoreIndex for no loss. Not together with
   * lossMask. Either all sequences have targets or none.
   */
  readonly targets?: TokenValues;
}

/** The rules that sequences have to fit. */
export interface SequenceRules extends IdRanges {
  /** Tokens per row. */
  readonly blockSize: number;
  /** Whether to truncate longer sequences; otherwise they are errors. */
  readonly truncation: boolean;
}

/** A sequence, checked and cut. */
export interface CheckedSequence {
  /** Tokens. */
  readonly length: number;
  /** The fields of `fieldsOf`, one after the other, each `length` values. */
  readonly values: Int32Array;
  readonly hasTargets: boolean;
}

/** The arrays of a batch, in the order in which sequences store them. */
export type Field = 'tokens' | 'types' | 'subtypes' | 'targets';

/** The fields that sequences of these rules have. */
export function fieldsOf({ nTypes, nStypes }: IdRanges): Field[] {
  return [
    'tokens',
    ...(nTypes > 0 ? (['types'] as const) : []),
    ...(nStypes > 0 ? (['subtypes'] as const) : []),
    'targets',
  ];
}

export const KEYS = ['tokens', 'types', 'subtypes', 'lossMask', 'targets'] as const;
type Key = (typeof KEYS)[number];

const SYNONYMS = {
  inputIds: 'tokens',
  ids: 'tokens',
  tokenTypeIds: 'types',
  labels: 'targets',
  mask: 'lossMask',
};

/**
 * Checks a sequence, computes its targets and truncates it to blockSize.
 *
 * @param refuse - throws an error; the message continues a sentence that starts with the place of the sequence.
 */
export function checkSequence(
  value: unknown,
  rules: SequenceRules,
  refuse: (why: string) => never,
): CheckedSequence {
  const given = arraysOf(value, refuse);
  const { tokens, lossMask } = given;
  if (!tokens) return refuse('has no tokens: give "tokens", an array of integers');
  if (tokens.length === 0) refuse('has an empty array of tokens: leave it out');
  for (const [name, setting] of [
    ['types', 'nTypes'],
    ['subtypes', 'nStypes'],
  ] as const) {
    if (given[name] && rules[setting] === 0)
      refuse(`has ${name}, but ${setting} is 0: leave them out, or set ${setting} to their number`);
    if (!given[name] && rules[setting] > 0)
      refuse(`has no ${name}, but ${setting} is ${rules[setting]}: give one for each token`);
  }
  if (given.targets && lossMask)
    refuse(`has both targets and lossMask: put ${rules.ignoreIndex} into targets where there is no loss`);
  for (const name of KEYS) {
    const length = given[name]?.length ?? tokens.length;
    if (length !== tokens.length)
      refuse(`has ${length} ${name} for ${tokens.length} tokens: give one for each token`);
  }
  if (tokens.length > rules.blockSize && !rules.truncation)
    refuse(
      `has ${tokens.length} tokens, more than blockSize ${rules.blockSize}: shorten it, use a larger blockSize (and ` +
        'nPositions), or set truncation to use only its first tokens',
    );
  const length = Math.min(tokens.length, rules.blockSize);
  const below = {
    tokens: rules.vocabSize,
    types: rules.nTypes,
    subtypes: rules.nStypes,
    targets: rules.vocabSize,
  };
  const fields = fieldsOf(rules);
  const values = new Int32Array(fields.length * length);
  if (lossMask) checkRange('lossMask', lossMask, 2, undefined, refuse);
  fields.forEach((field, f) => {
    const source = given[field];
    const into = values.subarray(f * length, (f + 1) * length);
    if (!source) return nextTokens(into, tokens, lossMask, rules.ignoreIndex);
    checkRange(field, source, below[field], field === 'targets' ? rules.ignoreIndex : undefined, refuse);
    for (let i = 0; i < length; i++) into[i] = source[i] as number;
  });
  const targets = values.subarray(values.length - length);
  if (targets.every((target) => target === rules.ignoreIndex))
    refuse(
      tokens.length === 1 && !given.targets
        ? 'has one token, so there is nothing to predict: leave it out'
        : `has no ${length < tokens.length ? `loss in its first ${length} tokens` : 'position with a loss'}: leave it out`,
    );
  return { length, values, hasTargets: given.targets !== undefined };
}

function arraysOf(value: unknown, refuse: (why: string) => never): Partial<Record<Key, TokenValues>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse(`is ${show(value)}, but must be an object such as {"tokens": [1, 2, 3]}`);
  const given: Partial<Record<Key, TokenValues>> = {};
  for (const [key, list] of Object.entries(value)) {
    const known = KEYS.find((name) => name === key);
    if (!known) {
      const meant = nearestName(key, KEYS, SYNONYMS);
      refuse(
        `has the unknown key ${show(key)}: ${meant === undefined ? `known are ${KEYS.join(', ')}` : `did you mean ${meant}?`}`,
      );
    } else if (list !== undefined) {
      if (!Array.isArray(list) && !types.isInt32Array(list))
        refuse(`has ${show(list)} as ${key}: it must be an array of integers`);
      given[known] = list as TokenValues;
    }
  }
  return given;
}

function checkRange(
  name: string,
  values: TokenValues,
  below: number,
  besides: number | undefined,
  refuse: (why: string) => never,
): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (!(Number.isInteger(value) && value >= 0 && value < below) && value !== besides)
      refuse(
        `has ${name}[${i}] ${show(value)}: it must be an integer from 0 to ${below - 1}` +
          `${besides === undefined ? '' : `, or ${besides} for no loss`}`,
      );
  }
}

/** A truncated sequence still predicts the first token that was cut off. */
function nextTokens(
  into: Int32Array,
  tokens: TokenValues,
  lossMask: TokenValues | undefined,
  ignored: number,
): void {
  for (let i = 0; i < into.length; i++) {
    const next = tokens[i + 1];
    into[i] = next === undefined || lossMask?.[i + 1] === 0 ? ignored : next;
  }
}
