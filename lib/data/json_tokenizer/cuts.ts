/** Finds where a long text can be cut without changing its tokens. */

/** Returns the token ids of texts. */
export type EncodeAll = (texts: readonly string[]) => Promise<number[][]>;

/** A place to cut. */
export interface Cut {
  /** Index in the text (UTF-16). */
  readonly at: number;
  /** Text before it; encoded after this text, the rest has the tokens that it has in the whole text. */
  readonly context: string;
  /** Tokens of the context, which are dropped. */
  readonly contextIds: readonly number[];
}

/**
 * Characters of context on both sides with which a cut is tried. Odd and even numbers, so that a run of one token is not
 * mistaken for two.
 */
const CONTEXTS = [200, 101, 51];
/** Places of one kind that are tried in one window. */
const MOST_TRIED = 24;
/** Number of places tried at once after the first, which nearly always works. */
const AT_ONCE = 8;

/** Places where pre-tokenizers cut, the best first: lines, words, punctuation. */
const PLACES = [
  /(?<=\n)(?=\S)/gu,
  /(?<=\S)(?= \S)/gu,
  /(?<=[\p{L}\p{N}])(?=[^\p{L}\p{N}\p{M}\s])|(?<=[^\p{L}\p{N}\p{M}\s])(?=[\p{L}\p{N}])/gu,
];

/**
 * The first place in [from, to) where the text can be cut: the text before it has the same tokens with and without the text
 * after it, which has the same tokens after any of several contexts.
 *
 * @param longest - characters of the longest token that is found in a text before it is split into words.
 */
export async function findCut(
  text: string,
  from: number,
  to: number,
  encode: EncodeAll,
  longest: number,
): Promise<Cut | undefined> {
  for (const place of PLACES) {
    const candidates = placesIn(text, place, from, to);
    for (let first = 0, count = 1; first < candidates.length; first += count, count = AT_ONCE) {
      const tried = candidates.slice(first, first + count);
      const found = (await Promise.all(tried.map((at) => tryCut(text, at, encode, longest)))).find(Boolean);
      if (found) return found;
    }
  }
  return undefined;
}

function placesIn(text: string, place: RegExp, from: number, to: number): number[] {
  const found: number[] = [];
  const window = text.slice(0, Math.min(text.length, to + 4));
  place.lastIndex = from;
  while (found.length < MOST_TRIED) {
    const match = place.exec(window);
    if (!match || match.index >= to) break;
    if (match.index >= Math.max(from, 1)) found.push(match.index);
    place.lastIndex = match.index + 1;
  }
  return found;
}

async function tryCut(
  text: string,
  at: number,
  encode: EncodeAll,
  longest: number,
): Promise<Cut | undefined> {
  const lengths = CONTEXTS.map((length) => length + longest);
  const lefts = [...new Set(lengths.map((length) => text.slice(characterAt(text, at - length), at)))];
  const rights = [...new Set(lengths.map((length) => text.slice(at, characterAt(text, at + length))))];
  const pairs = lefts.flatMap((left) => rights.map((right) => left + right));
  const ids = await encode([...lefts, ...pairs]);
  const before = ids.slice(0, lefts.length);
  const wholes = ids.slice(lefts.length);
  for (let r = 0; r < rights.length; r++) {
    let after: number[] | undefined;
    for (const [l, left] of before.entries()) {
      const whole = wholes[l * rights.length + r] ?? [];
      const tail = whole.slice(left.length);
      if (!startsWith(whole, left) || (after && !isEqual(after, tail))) return undefined;
      after = tail;
    }
  }
  return { at, context: lefts.at(-1) ?? '', contextIds: before.at(-1) ?? [] };
}

/** An index that is within the text and not inside a character. */
function characterAt(text: string, index: number): number {
  const at = Math.min(Math.max(index, 0), text.length);
  const isInside = /[\uDC00-\uDFFF]/.test(text.charAt(at)) && /[\uD800-\uDBFF]/.test(text.charAt(at - 1));
  return isInside ? at - 1 : at;
}

export const startsWith = (ids: readonly number[], first: readonly number[]): boolean =>
  first.every((id, i) => ids[i] === id);

const isEqual = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && startsWith(a, b);
