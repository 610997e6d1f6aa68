import type { Tokenizer } from './tokenizer';

/**
 * Counts the bytes of UTF-8 that tokens stand for. A token that ends a document stands for none. Tokens that follow one
 * another in a text are given in that order, so that a character may be spread over several.
 */
export class ByteCount {
  private bytes = 0;
  private readonly decoder;

  constructor(private readonly tokenizer: Tokenizer) {
    this.decoder = tokenizer.decoder();
  }

  add(tokens: Iterable<number>): void {
    const { name, endOfTextToken } = this.tokenizer;
    for (const token of tokens) {
      if (name === 'byte') this.bytes++;
      else if (token !== endOfTextToken) this.bytes += Buffer.byteLength(this.decoder.push(token));
    }
  }

  /** Bytes of all that were added. */
  end(): number {
    return this.bytes + (this.tokenizer.name === 'byte' ? 0 : Buffer.byteLength(this.decoder.end()));
  }
}
