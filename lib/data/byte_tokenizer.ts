import { TesseraeError } from '../errors';
import { requireIds, requireText, type TokenDecoder, type Tokenizer } from './tokenizer';

/** Most bytes of an incomplete character. */
const MOST_UNFINISHED = 3;

/**
 * Makes one token per byte of UTF-8: 256 tokens, no training, and every text can be encoded. Its start token is a newline.
 *
 * @example
 * new ByteTokenizer().encode('é'); // Int32Array [195, 169]
 */
export class ByteTokenizer implements Tokenizer {
  readonly name = 'byte';
  readonly vocabSize = 256;
  /** A newline. */
  readonly startToken = 10;

  /** The bytes of the text, 0 to 255; a lone surrogate becomes those of U+FFFD. */
  encode(text: string): Int32Array {
    requireText(text);
    return new Int32Array(Buffer.from(text, 'utf8'));
  }

  /**
   * Decodes ids; bytes that are not UTF-8 become U+FFFD.
   *
   * @throws TesseraeError `ERR_DATA` for an id outside 0 to 255.
   */
  decode(ids: ArrayLike<number>): string {
    requireIds(ids);
    const decoder = this.decoder();
    const pieces = Array.from(ids, (id) => decoder.push(id));
    return pieces.join('') + decoder.end();
  }

  /** Decodes byte by byte, and returns a character once its last byte arrives. */
  decoder(prompt: ArrayLike<number> = []): TokenDecoder {
    requireIds(prompt);
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    const push = (id: number): string => utf8.decode(Uint8Array.of(byte(id)), { stream: true });
    for (let i = Math.max(0, prompt.length - MOST_UNFINISHED); i < prompt.length; i++) push(prompt[i] ?? NaN);
    return { push, end: () => utf8.decode() };
  }
}

function byte(id: number): number {
  if (Number.isInteger(id) && id >= 0 && id < 256) return id;
  throw new TesseraeError('ERR_DATA', `token id ${id} is not in the byte tokenizer's vocabulary of 0 to 255`);
}
