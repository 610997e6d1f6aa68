import type { Tokenizer } from '../data/tokenizer';
import { maskWords } from './constraints';

/** A set of a model's token ids, a bit each: id t is bit t % 32 of word ⌊t / 32⌋. */
export class TokenSet {
  private readonly words: Uint32Array;
  /** Whether no id is missing. */
  readonly isWhole: boolean;

  /** @param vocabSize - rows of the model; ids lie in [0, vocabSize). */
  constructor(
    readonly vocabSize: number,
    has: (id: number) => boolean = () => true,
  ) {
    this.words = new Uint32Array(maskWords(vocabSize));
    let size = 0;
    for (let id = 0; id < vocabSize; id++) {
      if (!has(id)) continue;
      size++;
      const word = Math.floor(id / 32);
      this.words[word] = (this.words[word] ?? 0) | (1 << (id % 32));
    }
    this.isWhole = size === vocabSize;
  }

  /** The ids of a model that have a token in its tokenizer. */
  static of(tokenizer: Tokenizer, vocabSize: number): TokenSet {
    return new TokenSet(vocabSize, (id) => id < tokenizer.vocabSize && (tokenizer.hasToken?.(id) ?? true));
  }

  has(id: number): boolean {
    return Number.isInteger(id) && ((this.words[Math.floor(id / 32)] ?? 0) & (1 << (id % 32))) !== 0;
  }

  /** Whether a mask, laid out as this set, leaves one of its ids. */
  meets(mask: Uint32Array): boolean {
    return this.words.some((word, i) => (word & (mask[i] ?? 0)) !== 0);
  }
}
