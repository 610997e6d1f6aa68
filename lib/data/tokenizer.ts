import { TesseraeError } from '../errors';
import { boundedLength, MOST_ENTRIES, reading } from '../models/array_likes';
import { hasFunctions, taken } from '../models/argument_schemas';
import { show } from '../models/validation';

/** Number of tokens at the end of a prompt that affect the text of its continuation. */
export const MOST_CONTEXT = 16;

/** Turns token ids into text piece by piece. */
export interface TokenDecoder {
  /** Returns the text that `id` completes: whole characters only, so it may be empty. */
  push(id: number): string;
  /** Returns the rest: an incomplete character becomes U+FFFD. */
  end(): string;
}

/** Tokens with special roles. */
export interface TokenRoles {
  /** Token that replaces an empty prompt. */
  readonly startToken?: number;
  /** Token that ends a document. */
  readonly endOfTextToken?: number;
  /** Token that pads rows. */
  readonly padToken?: number;
  /** Token for text that has no other token. */
  readonly unknownToken?: number;
}

/** The texts of the files next to a tokenizer.json, such as tokenizer_config.json, by file name. */
export type TokenizerFiles = Readonly<Record<string, string>>;

/** Converts between text and token ids. */
export interface Tokenizer {
  /** Its name in checkpoints. */
  readonly name: string;
  /** Ids are in [0, vocabSize). */
  readonly vocabSize: number;
  /** Whether an id in [0, vocabSize) has a token; an id without one is never sampled. Default: every id has one. */
  hasToken?(id: number): boolean;
  /** Token that replaces an empty prompt, if there is one. */
  readonly startToken?: number;
  /** Token that ends a document, if there is one. */
  readonly endOfTextToken?: number;
  /** Token that pads rows, if there is one. */
  readonly padToken?: number;
  /** Token for text that has no other token, if there is one. */
  readonly unknownToken?: number;
  /** Its files other than tokenizer.json, such as a chat template; checkpoints keep them. Default: none. */
  readonly files?: TokenizerFiles;
  /** Text of its tokenizer.json, which checkpoints keep; absent for built-in tokenizers. */
  readonly json?: string;
  /**
   * Returns the token ids of a text; an empty text has none. Await it: a tokenizer may encode in the background.
   *
   * @throws TesseraeError `ERR_DATA` for a text that has no tokens in this vocabulary.
   */
  encode(text: string): Int32Array | Promise<Int32Array>;
  /**
   * Returns the text of token ids.
   *
   * @throws TesseraeError `ERR_DATA` for an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>): string;
  /**
   * Returns a decoder for the tokens that continue `prompt`, one by one. The text of the prompt followed by all pieces equals
   * `decode` of all ids. If the prompt ends inside a character, the piece that completes it has the whole character.
   *
   * @param prompt - token ids before the continuation; only the last 16 matter. Default: none.
   * @throws TesseraeError `ERR_DATA` for an id outside the vocabulary.
   */
  decoder(prompt?: ArrayLike<number>): TokenDecoder;
}

/** Validates a tokenizer. */
export const aTokenizer = taken<Tokenizer>(
  (value) =>
    hasFunctions(value, ['encode', 'decode', 'decoder']) &&
    Number.isInteger((value as Tokenizer).vocabSize) &&
    ['undefined', 'function'].includes(typeof (value as Tokenizer).hasToken),
  'a tokenizer, such as new ByteTokenizer()',
);

/** @throws TesseraeError `ERR_DATA` unless a tokenizer can encode it. */
export function requireText(text: unknown): void {
  if (typeof text === 'string') return;
  throw new TesseraeError('ERR_DATA', `the text to encode must be a string, not ${show(text)}`);
}

/** @throws TesseraeError `ERR_DATA` unless a tokenizer can decode it. */
export function requireIds(ids: unknown): void {
  const rules = { name: 'the token ids to decode', code: 'ERR_DATA', most: MOST_ENTRIES } as const;
  const length = boundedLength(ids, rules);
  reading(rules, () => {
    for (let i = 0; i < length; i++) {
      const id = (ids as ArrayLike<unknown>)[i];
      if (typeof id !== 'number')
        throw new TesseraeError('ERR_DATA', `token ${i} to decode is ${show(id)}: ids must be integers`);
    }
  });
}
