/**
 * Checks a `precompiled_charsmap`: SentencePiece's normalization rules as a double array (darts-clone), then the texts that
 * it points at, each ended by NUL. The library reads it without looking at bounds, and ends the process beyond them.
 */
import { isUtf8 } from 'node:buffer';

const MOST_BYTES = 2 ** 24;
/** Most bytes that a character may become: the longest of NFKC has 33. */
const MOST_REPLACEMENT = 256;

/** What is wrong with it; undefined for a map that can be used. */
export function charsmapRefusal(base64: string): string | undefined {
  if (base64.length > MOST_BYTES) return `has more than ${MOST_BYTES} characters`;
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64').replace(/=+$/, '') !== base64.replace(/=+$/, '')) return 'is not base64';
  const size = bytes.length < 4 ? -1 : bytes.readUInt32LE(0);
  if (size < 4 || size % 4 !== 0 || 4 + size > bytes.length) return 'has an incomplete table';
  const texts = bytes.subarray(4 + size);
  if (!isUtf8(texts)) return 'has texts that are not UTF-8';
  for (let start = 0; start < texts.length;) {
    const nul = texts.indexOf(0, start);
    const end = nul < 0 ? texts.length : nul;
    if (end - start > MOST_REPLACEMENT) return `has a text of more than ${MOST_REPLACEMENT} bytes`;
    start = end + 1;
  }
  const units = Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
  return isWithin(units, texts) ? undefined : 'points beyond its table or its texts';
}

const offsetOf = (unit: number): number => ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
const labelOf = (unit: number): number => (unit & 0x800000ff) >>> 0;
const hasLeaf = (unit: number): boolean => ((unit >>> 8) & 1) === 1;

/** Follows every path that some text takes. */
function isWithin(units: readonly number[], texts: Uint8Array): boolean {
  const seen = new Set<number>();
  const open = [offsetOf(units[0] ?? 0)];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (let byte = 1; byte < 256; byte++) {
      const at = (node ^ byte) >>> 0;
      const unit = units[at];
      if (unit === undefined) return false;
      if (labelOf(unit) !== byte) continue;
      const next = (at ^ offsetOf(unit)) >>> 0;
      if (hasLeaf(unit)) {
        const leaf = units[next];
        if (leaf === undefined) return false;
        const start = leaf & 0x7fffffff;
        const first = texts[start];
        // A text begins where a character does.
        if (start > texts.length || (first !== undefined && (first & 0xc0) === 0x80)) return false;
      }
      open.push(next);
    }
  }
  return true;
}
