/** Masks that are made between two tokens: those of `tokenMask`, and those against repeated n-grams. */
import { TesseraeError } from '../errors';
import type { NativeSession } from '../native';
import { maskWords } from './constraints';
import type { MaskedSequence, ResolvedOptions } from './options';

/** What a mask is made of. */
export interface MaskRules extends Pick<ResolvedOptions, 'tokenMask' | 'tokens'> {
  /** Tokens that each sequence may not have next. */
  readonly banned?: (row: number) => Iterable<number>;
  /** Whether a sequence needs a token. */
  readonly isOpen: (row: number) => boolean;
}

/**
 * Makes the mask while the model computes the logits that it will mask.
 *
 * @returns ⌈vocabSize / 32⌉ words for each sequence, which nobody else has.
 * @throws TesseraeError `ERR_DATA` for a mask of another size, or one that allows no token to an open sequence.
 */
export async function maskOf(
  session: NativeSession,
  sequences: readonly MaskedSequence[],
  rules: MaskRules,
): Promise<Uint32Array> {
  const forward = session.forward();
  let mask: Uint32Array;
  try {
    mask = userMask(sequences, rules);
  } finally {
    await forward;
  }
  const words = maskWords(rules.tokens.vocabSize);
  const { banned } = rules;
  if (banned)
    sequences.forEach((_, row) => {
      for (const id of banned(row)) {
        const at = row * words + Math.floor(id / 32);
        mask[at] = (mask[at] ?? 0) & ~(1 << (id % 32));
      }
    });
  return mask;
}

function userMask(
  sequences: readonly MaskedSequence[],
  { tokenMask, tokens, isOpen }: MaskRules,
): Uint32Array {
  const words = maskWords(tokens.vocabSize);
  const wanted = sequences.length * words;
  if (!tokenMask) return new Uint32Array(wanted).fill(0xffffffff);
  const given: unknown = tokenMask(sequences);
  if (!(given instanceof Uint32Array) || given.length !== wanted)
    throw new TesseraeError(
      'ERR_DATA',
      `tokenMask must return a Uint32Array of ${wanted} words, ${words} for each of ${sequences.length} sequences` +
        (given instanceof Uint32Array ? `, not of ${given.length}` : ''),
    );
  const mask = new Uint32Array(given);
  sequences.forEach(({ prompt, sequence }, row) => {
    if (!isOpen(row) || tokens.meets(mask.subarray(row * words, (row + 1) * words))) return;
    throw new TesseraeError(
      'ERR_DATA',
      `tokenMask allows no token to row ${row} (prompt ${prompt}, sequence ${sequence}): set at least one of its bits`,
      { details: { row } },
    );
  });
  return mask;
}

/** Finds the tokens that would repeat an n-gram of a growing sequence. */
export class Repeats {
  /** Places of each token, but for the last place of the sequence. */
  private readonly places = new Map<number, number[]>();
  private seen = 0;

  /** @param tokens - of the sequence; they are looked at again at every question. */
  constructor(
    private readonly tokens: readonly number[],
    private readonly n: number,
  ) {}

  /** Tokens after which the sequence would have a run of n tokens twice. */
  next(): Iterable<number> {
    const { tokens, n, places } = this;
    const last = tokens.length - 1;
    for (; this.seen < last; this.seen++) {
      const token = tokens[this.seen] ?? -1;
      const known = places.get(token);
      if (known) known.push(this.seen);
      else places.set(token, [this.seen]);
    }
    if (n === 1) return [...places.keys(), tokens[last] ?? -1];
    const banned = new Set<number>();
    for (const place of places.get(tokens[last] ?? -1) ?? [])
      if (this.isRun(place, last)) banned.add(tokens[place + 1] ?? -1);
    return banned;
  }

  /** Whether the n − 1 tokens up to one place are those up to another. */
  private isRun(place: number, last: number): boolean {
    if (place < this.n - 2) return false;
    for (let i = 1; i < this.n - 1; i++) if (this.tokens[place - i] !== this.tokens[last - i]) return false;
    return true;
  }
}
