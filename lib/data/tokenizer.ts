/** Turns token ids into text piece by piece. */
export interface TokenDecoder {
  /** The text that `id` completes: whole characters only, so it may be empty. */
  push(id: number): string;
  /** What is left: a character that was cut off becomes U+FFFD. */
  end(): string;
}

/** Text ↔ token ids. */
export interface Tokenizer {
  /** What a checkpoint calls it. */
  readonly name: string;
  /** Ids lie in [0, vocabSize). */
  readonly vocabSize: number;
  /** Token that an empty prompt is replaced by, when there is one. */
  readonly startToken?: number;
  /** Token that ends a document, when there is one. */
  readonly endOfTextToken?: number;
  /** Text of the tokenizer.json that it was made from, which checkpoints keep; absent for those that are built in. */
  readonly json?: string;
  /** Token ids of a text; an empty text has none. */
  encode(text: string): Int32Array;
  /**
   * The text of token ids.
   *
   * @throws TesseraeError `ERR_DATA` for an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>): string;
  /** A decoder of one sequence, token by token. */
  decoder(): TokenDecoder;
}
