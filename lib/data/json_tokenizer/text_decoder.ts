/**
 * Decodes tokens of a vocabulary of text one by one. The text of a token depends on those around it, so what a token adds
 * is the difference between the texts with and without it, after some tokens of context.
 */
import type { TokenDecoder } from '../tokenizer';

/** A character has at most four bytes, so bytes that are incomplete after eight tokens are not a character. */
const MOST_HELD = 8;

/**
 * @param textOf - decodes ids; `tokenOf` gives the token of one.
 * @param prompt - the ids before, which are in the vocabulary.
 */
export function textDecoder(
  textOf: (ids: readonly number[]) => string,
  tokenOf: (id: number) => string | undefined,
  prompt: readonly number[],
): TokenDecoder {
  const bytesOf = (ids: readonly number[]): (number | undefined)[] => ids.map((id) => byteOf(tokenOf(id)));
  // Decoders take a run of bytes as a whole: bytes without their first one would spoil the characters after them.
  const whole = (ids: readonly number[]): readonly number[] => ids.slice(tornBytes(bytesOf(ids)));
  const unfinished = unfinishedBytes(bytesOf(prompt));
  let context = whole(prompt.slice(0, prompt.length - unfinished));
  let held = prompt.slice(prompt.length - unfinished);
  let before = textOf(context);
  const added = (): string => textOf([...context, ...held]).slice(before.length);
  const release = (text: string): string => {
    // Two rounds of tokens: decoders that join look at the token before, whose text may be empty.
    context = [...whole(context.slice(-MOST_HELD)), ...held];
    before = textOf(context);
    held = [];
    return text;
  };
  return {
    push: (id) => {
      held.push(id);
      const text = added();
      return text.endsWith('\uFFFD') && held.length < MOST_HELD ? '' : release(text);
    },
    end: () => (held.length === 0 ? '' : release(added())),
  };
}

/** The byte of a token such as `<0xE2>`; undefined for a token of text. */
function byteOf(token: string | undefined): number | undefined {
  const [, digits] = /^<0x([0-9A-F]{2})>$/.exec(token ?? '') ?? [];
  return digits === undefined ? undefined : parseInt(digits, 16);
}

const continues = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** How many tokens at the beginning are bytes of a character whose first byte is missing. */
function tornBytes(bytes: readonly (number | undefined)[]): number {
  const count = bytes.findIndex((byte) => !continues(byte));
  return count <= 3 ? Math.max(count, 0) : 0;
}

/** How many tokens at the end are bytes of a character whose last byte is missing. */
function unfinishedBytes(bytes: readonly (number | undefined)[]): number {
  for (let count = 1; count <= 3; count++) {
    const byte = bytes.at(-count);
    if (byte === undefined) return 0;
    if (continues(byte)) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > count ? count : 0;
  }
  return 0;
}
