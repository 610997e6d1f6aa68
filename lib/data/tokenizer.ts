import { TesseraeError } from '../errors';
import { boundedLength, MOST_ENTRIES, reading } from '../models/array_likes';
import { hasFunctions, taken } from '../models/argument_schemas';
import { show } from '../models/validation';

/** Tokens of a prompt that decide about the text of what continues it. */
export const MOST_CONTEXT = 16;

/** Turns token ids into text piece by piece. */
export interface TokenDecoder {
  /** The text that `id` completes: whole characters only, so it may be empty. */
  push(id: number): string;
  /** What is left: a character that was cut off becomes U+FFFD. */
  end(): string;
}

/** Which tokens have a meaning of their own. */
export interface TokenRoles {
  /** Token that an empty prompt is replaced by. */
  readonly startToken?: number;
  /** Token that ends a document. */
  readonly endOfTextToken?: number;
  /** Token that fills rows up. */
  readonly padToken?: number;
  /** Token that stands for text that the vocabulary has no other for. */
  readonly unknownToken?: number;
}

/** Names of the files that stood beside a tokenizer.json → their texts, such as tokenizer_config.json. */
export type TokenizerFiles = Readonly<Record<string, string>>;

/** Text ↔ token ids. */
export interface Tokenizer {
  /** What a checkpoint calls it. */
  readonly name: string;
  /** Ids lie in [0, vocabSize). */
  readonly vocabSize: number;
  /** Whether an id in [0, vocabSize) has a token; one that has none is never sampled. Default: every id has one. */
  hasToken?(id: number): boolean;
  /** Token that an empty prompt is replaced by, when there is one. */
  readonly startToken?: number;
  /** Token that ends a document, when there is one. */
  readonly endOfTextToken?: number;
  /** Token that fills rows up, when there is one. */
  readonly padToken?: number;
  /** Token that stands for text that the vocabulary has no other for, when there is one. */
  readonly unknownToken?: number;
  /** What belongs to it beside its tokenizer.json, such as a chat template; checkpoints keep it. Default: nothing. */
  readonly files?: TokenizerFiles;
  /** Text of the tokenizer.json that it was made from, which checkpoints keep; absent for those that are built in. */
  readonly json?: string;
  /**
   * Token ids of a text; an empty text has none. Await it: a tokenizer may encode in the background.
   *
   * @throws TesseraeError `ERR_DATA` for a text that has no tokens in this vocabulary.
   */
  encode(text: string): Int32Array | Promise<Int32Array>;
  /**
   * The text of token ids.
   *
   * @throws TesseraeError `ERR_DATA` for an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>): string;
  /**
   * A decoder of the tokens that continue `prompt`, one by one. The text of the prompt and then all pieces are
   * `decode` of all ids. If the prompt ends inside a character, that character comes whole, with the piece that ends it.
   *
   * @param prompt - token ids of the text before, of which the last 16 decide; default: none.
   * @throws TesseraeError `ERR_DATA` for an id outside the vocabulary.
   */
  decoder(prompt?: ArrayLike<number>): TokenDecoder;
}

/** Takes a tokenizer. */
export const aTokenizer = taken<Tokenizer>(
  (value) =>
    hasFunctions(value, ['encode', 'decode', 'decoder']) &&
    Number.isInteger((value as Tokenizer).vocabSize) &&
    ['undefined', 'function'].includes(typeof (value as Tokenizer).hasToken),
  'a tokenizer, such as new ByteTokenizer()',
);

/** @throws TesseraeError `ERR_DATA` unless it is what a tokenizer encodes. */
export function requireText(text: unknown): void {
  if (typeof text === 'string') return;
  throw new TesseraeError('ERR_DATA', `the text to encode must be a string, not ${show(text)}`);
}

/** @throws TesseraeError `ERR_DATA` unless it is what a tokenizer decodes. */
export function requireIds(ids: unknown): void {
  const rules = { name: 'the token ids to decode', code: 'ERR_DATA', most: MOST_ENTRIES } as const;
  const length = boundedLength(ids, rules);
  reading(rules, () => {
    for (let i = 0; i < length; i++) {
      const id = (ids as ArrayLike<unknown>)[i];
      if (typeof id !== 'number')
        throw new TesseraeError('ERR_DATA', `token ${i} to decode is ${show(id)}: ids are integers`);
    }
  });
}
