import { TesseraeError } from '../errors';
import { requireIds, requireText, type TokenDecoder, type Tokenizer } from './tokenizer';

/** Reads and writes token ids as numbers with spaces or commas between them, for sequences that are not text. */
export class IdTokenizer implements Tokenizer {
  readonly name = 'ids';

  constructor(readonly vocabSize: number) {}

  /** @throws TesseraeError `ERR_DATA` for anything but ids of the vocabulary. */
  encode(text: string): Int32Array {
    requireText(text);
    const words = text.split(/[\s,]+/).filter((word) => word !== '');
    return Int32Array.from(words, (word) => this.checked(/^\d+$/.test(word) ? Number(word) : NaN, word));
  }

  decode(ids: ArrayLike<number>): string {
    requireIds(ids);
    return Array.from(ids, (id) => String(this.checked(id))).join(' ');
  }

  /** Ids have a space between them, so what continues a prompt begins with one. */
  decoder(prompt: ArrayLike<number> = []): TokenDecoder {
    requireIds(prompt);
    let separator = prompt.length > 0 ? ' ' : '';
    const push = (id: number): string => {
      const text = `${separator}${this.checked(id)}`;
      separator = ' ';
      return text;
    };
    return { push, end: () => '' };
  }

  private checked(id: number, word = String(id)): number {
    if (Number.isInteger(id) && id >= 0 && id < this.vocabSize) return id;
    throw new TesseraeError(
      'ERR_DATA',
      `'${word.slice(0, 40)}' is not a token id: ids are integers from 0 to ${this.vocabSize - 1}`,
    );
  }
}
