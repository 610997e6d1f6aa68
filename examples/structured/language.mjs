// @ts-check
// Floor plans as tokens, and what is allowed where:
//
//   START  kind x y width height  kind x y width height  …  END
//
// Numbers are the same tokens wherever they stand. Which of the four they are is the token's type, and which room they
// belong to is its subtype; both follow from the position.
import { HEIGHT, KINDS, MOST_ROOMS, WIDTH } from './plans.mjs';

/** @typedef {import('./plans.mjs').Room} Room */

const WORDS = ['START', 'END', ...KINDS, ...Array.from({ length: WIDTH + 1 }, (_, number) => String(number))];
const [START, END] = [0, 1];
export { END };
const FIRST_NUMBER = 2 + KINDS.length;

/** What the sampler asks for: text here is words with spaces between them. */
export const tokenizer = {
  name: 'plans',
  vocabSize: WORDS.length,
  encode: (/** @type {string} */ text) => Int32Array.from(text.split(' '), (word) => WORDS.indexOf(word)),
  decode: (/** @type {ArrayLike<number>} */ tokens) => Array.from(tokens, (token) => WORDS[token]).join(' '),
  decoder: () => ({ push: (/** @type {number} */ token) => `${WORDS[token]} `, end: () => '' }),
};

/** Tokens of the longest plan. */
export const LENGTH = 1 + 5 * MOST_ROOMS + 1;
const positions = Array.from({ length: LENGTH }, (_, position) => position);
/** 0: START; 1: a kind, or END; 2 to 5: x, y, width, height. */
export const types = positions.map((position) => (position === 0 ? 0 : 1 + ((position - 1) % 5)));
/** The room's number, from 1; 0: START. */
export const subtypes = positions.map((position) => Math.ceil(position / 5));
export const [nTypes, nStypes] = [6, MOST_ROOMS + 2];

/** @param {readonly Room[]} rooms */
export const tokensOf = (rooms) => [
  START,
  ...rooms.flatMap(({ kind, x, y, width, height }) => [
    2 + KINDS.indexOf(kind),
    ...[x, y, width, height].map((number) => FIRST_NUMBER + number),
  ]),
  END,
];

/**
 * The rooms of a plan, or undefined for tokens that are none: a plan has one to eight rooms, and each a kind and four numbers
 * that lie in the house.
 *
 * @param {readonly number[]} tokens
 * @returns {Room[] | undefined}
 */
export function parsePlan(tokens) {
  const inner = tokens.slice(1, -1);
  const whole = tokens[0] === START && tokens.at(-1) === END && inner.length % 5 === 0;
  const count = inner.length / 5;
  const rooms = Array.from({ length: count }, (_, i) => {
    const [kind = 0, ...box] = inner.slice(5 * i, 5 * i + 5);
    const [x = -1, y = -1, width = 0, height = 0] = box.map((token) => token - FIRST_NUMBER);
    return { kind: KINDS[kind - 2] ?? '', x, y, width, height };
  });
  const lies = (/** @type {Room} */ { kind, x, y, width, height }) =>
    kind !== '' && Math.min(x, y, width - 1, height - 1) >= 0 && x + width <= WIDTH && y + height <= HEIGHT;
  return whole && count >= 1 && count <= MOST_ROOMS && rooms.every(lies) ? rooms : undefined;
}

/** @param {number} from @param {number} to - tokens of the numbers from one to the other. */
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => FIRST_NUMBER + from + i);
const kinds = KINDS.map((_, i) => 2 + i);
const ofType = [[START], [...kinds, END], numbers(0, WIDTH - 1), numbers(0, HEIGHT - 1)];
ofType.push(numbers(1, WIDTH), numbers(1, HEIGHT));

/** Which kind of token a position takes never changes: a table says so. A plan has a room, and no more than fit. */
export const allowedTokens = new Map(types.map((type, position) => [position, ofType[type] ?? []]));
allowedTokens.set(1, kinds).set(LENGTH - 1, [END]);

/**
 * How wide and high a room may be depends on where it begins: a function says so. One word holds the bits of 32 tokens,
 * more than there are.
 *
 * @param {readonly import('tesserae').MaskedSequence[]} batch
 */
export const tokenMask = (batch) =>
  Uint32Array.from(batch, ({ tokens }) => {
    const type = types[tokens.length];
    if (type !== 4 && type !== 5) return 0xffffffff;
    const begin = (tokens.at(-2) ?? 0) - FIRST_NUMBER; // x before a width, y before a height
    return numbers(1, (type === 4 ? WIDTH : HEIGHT) - begin).reduce((bits, token) => bits | (1 << token), 0);
  });
