/** Finds where a document in a file can be cut. */
import { TesseraeError } from '../../errors';
import type { Cut } from '../json_tokenizer/cuts';
import type { Cutter } from './segment_reader';

/** Bytes to search at a time; a segment has a whole number of them, so that all segments search the same windows. */
const WINDOW_BYTES = 2 ** 16;
/** Context around a window: a cut is tested with at most 1,200 characters on either side. */
const CONTEXT_BYTES = 2 ** 13;

/** A place to cut a file. */
export interface FileCut {
  readonly offset: number;
  /** The tokenizer's confirmation of the cut; absent where a document begins or ends. */
  readonly cut?: Cut | undefined;
}

/**
 * The first place from `at` on where the document can be cut without changing its tokens, or its end.
 *
 * @param document - `begins` and `ends` in its file.
 * @throws TesseraeError `ERR_DATA` if there is no such place in the largest text that can be tokenized at once.
 */
export async function cutFile(
  read: (from: number, to: number) => Buffer,
  document: { readonly path: string; readonly at: number; readonly begins: number; readonly ends: number },
  cutter: Cutter,
): Promise<FileCut> {
  const { path, at, begins, ends } = document;
  if (at <= begins) return { offset: begins };
  for (let from = at; from < ends; from += WINDOW_BYTES) {
    if (from - at > 4 * cutter.most)
      throw new TesseraeError(
        'ERR_DATA',
        `the input '${path}' has no place between offsets ${at} and ${from} where it can be cut without changing its tokens, and ` +
          "more can't be tokenized at once: add line ends or spaces",
        { details: { path, offset: at } },
      );
    const to = Math.min(from + WINDOW_BYTES, ends);
    const base = Math.max(begins, from - CONTEXT_BYTES);
    const bytes = read(base, Math.min(to + CONTEXT_BYTES, ends));
    const before = bytes.toString('utf8', inside(bytes, 0), inside(bytes, from - base));
    const searched = bytes.toString('utf8', inside(bytes, from - base), inside(bytes, to - base));
    const text = before + searched + bytes.toString('utf8', inside(bytes, to - base));
    const cut = await cutter.cut(text, before.length, before.length + searched.length);
    if (cut) {
      const offset = base + inside(bytes, 0) + Buffer.byteLength(text.slice(0, cut.at));
      return { offset: Math.min(offset, ends), cut };
    }
  }
  return { offset: ends };
}

/** The first offset from `at` on that is not inside a character. */
function inside(bytes: Uint8Array, at: number): number {
  let p = at;
  // 0b10xxxxxx continues a character of UTF-8, which has at most three of them.
  while (p < at + 3 && ((bytes[p] ?? 0) & 0xc0) === 0x80) p++;
  return p;
}
