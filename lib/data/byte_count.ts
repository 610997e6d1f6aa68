import type { Tokenizer } from './tokenizer';

/**
 * Counts the UTF-8 bytes of the text of tokens. A token that ends a document counts none. Add tokens in the order of the
 * text, because a character may be spread over several tokens.
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

  /** Bytes of all added tokens. */
  end(): number {
    return this.bytes + (this.tokenizer.name === 'byte' ? 0 : Buffer.byteLength(this.decoder.end()));
  }
}
