/**
 * Decides where inputs are cut, so that they are tokenized in parallel and in bounded memory. Cuts depend only on the bytes
 * near a nominal offset, so any number of threads gives the same result. `cut_file.ts` moves nominal offsets inside a
 * document to where the tokenizer allows a cut.
 */
import { TesseraeError } from '../../errors';
import type { InputFile, InputKind } from './inputs';

/** Nominal bytes of a segment. */
export const SEGMENT_BYTES = 2 ** 20;

/** Bytes `from` to `to` of a file; both are moved to where it may be cut. */
export interface Segment {
  readonly path: string;
  readonly kind: InputKind;
  readonly from: number;
  readonly to: number;
  /** Of the whole file. */
  readonly bytes: number;
  /** Nominal offset where its document begins: 0, or the cut between training and validation. */
  readonly documentFrom: number;
  /** Nominal offset where its document ends. */
  readonly documentTo: number;
  /** Whether its document ends with it. */
  readonly endsDocument: boolean;
  readonly part: 'train' | 'validation';
  /** Of a JSON array: where an element begins, at or before the first one that begins in the segment. */
  readonly anchor?: number;
}

/**
 * All segments of the inputs in order. The last `validationFraction` of all bytes, from the next line on, is for validation.
 */
export function* segmentsOf(
  files: readonly InputFile[],
  validationFraction: number,
  segmentBytes = SEGMENT_BYTES,
): Generator<Segment> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const cut = validationFraction > 0 ? Math.floor(total * (1 - validationFraction)) : total;
  let before = 0;
  for (const { path, kind, bytes, anchors } of files) {
    const own = Math.min(Math.max(cut - before, 0), bytes);
    for (const [start, end, part] of [
      [0, own, 'train'],
      [own, bytes, 'validation'],
    ] as const)
      for (let from = start; from < end; from += segmentBytes) {
        const to = Math.min(from + segmentBytes, end);
        const anchor = anchors?.findLast((offset) => offset <= from) ?? anchors?.[0];
        yield {
          path,
          kind,
          from,
          to,
          bytes,
          documentFrom: start,
          documentTo: end,
          endsDocument: to === end,
          part,
          ...(anchor === undefined ? {} : { anchor }),
        };
      }
    before += bytes;
  }
}

const LINE_FEED = 10;

const isSpace = (byte: number | undefined): boolean =>
  byte === undefined || byte === 32 || (byte >= 9 && byte <= 13);

/**
 * Where a document that should end at `at` ends and the next begins, at most `most` bytes later: after a line end between two
 * characters other than spaces, else after any line end, else between characters.
 *
 * @param bytes - a part of the text, from `base` on, with the two bytes before `at` and the `most` after it.
 * @param length - of the whole text: its end is a place to cut.
 */
export function boundary(
  { bytes, base, length }: { readonly bytes: Uint8Array; readonly base: number; readonly length: number },
  at: number,
  most = SEGMENT_BYTES,
): number {
  if (at === 0 || at >= length) return Math.min(at, length);
  const last = Math.min(at + most, length);
  let anyLine: number | undefined;
  for (let p = at; p < last; p++) {
    const index = p - base;
    if (bytes[index - 1] !== LINE_FEED) continue;
    anyLine ??= p;
    if (!isSpace(bytes[index - 2]) && !isSpace(bytes[index])) return p;
  }
  if (anyLine !== undefined) return anyLine;
  if (last === length) return length;
  let p = at;
  // 0b10xxxxxx continues a character of UTF-8, which has at most three of them.
  while (p < at + 3 && ((bytes[p - base] ?? 0) & 0xc0) === 0x80) p++;
  return p;
}

/** An error about a place in a text. */
export function badText(
  where: { readonly path: string; readonly offset: number; readonly line?: number },
  why: string,
): TesseraeError {
  const { path, offset, line } = where;
  const at = line === undefined ? `offset ${offset}` : `line ${line} (offset ${offset})`;
  return new TesseraeError('ERR_DATA', `the input '${path}', ${at}, ${why}`, {
    details: { path, offset, ...(line === undefined ? {} : { line }) },
  });
}
