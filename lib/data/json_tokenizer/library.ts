/** The used part of Hugging Face's tokenizers library (Rust). Only this file loads it. */
import { messageOf, TesseraeError } from '../../errors';

/** The result of encoding one text. */
export interface Encoding {
  getIds(): number[];
  /** First and last code point + 1 of each token in the text. */
  getOffsets(): [number, number][];
}

export interface LibraryTokenizer {
  encodeBatch(texts: readonly string[], options: { addSpecialTokens: false }): Promise<Encoding[]>;
  getDecoder(): { decode(tokens: readonly string[]): string } | null;
  getNormalizer(): { normalizeString(text: string): string } | null;
  tokenToId(token: string): number | null;
}

/** @throws TesseraeError `ERR_NATIVE_LOAD` if the library has no build for this machine. */
export function libraryTokenizer(json: string): LibraryTokenizer {
  return library().fromString(json);
}

interface Library {
  fromString(json: string): LibraryTokenizer;
}

function library(): Library {
  try {
    return (require('tokenizers') as { Tokenizer: Library }).Tokenizer;
  } catch (cause) {
    throw new TesseraeError(
      'ERR_NATIVE_LOAD',
      `the tokenizers library can't be loaded (${messageOf(cause)}): a tokenizer.json needs it; reinstall the package ` +
        'for this machine, or use bytes',
      { cause },
    );
  }
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Encodes texts on the library's own threads. A JavaScript thread has one batch under way at a time, so that at most one
 * thread of Node's pool, which files need too, waits for it.
 */
export function encodeInTurn(tokenizer: LibraryTokenizer, texts: readonly string[]): Promise<Encoding[]> {
  const result = last.then(() => tokenizer.encodeBatch(texts, { addSpecialTokens: false }));
  last = result.catch(() => undefined);
  return result;
}
