import { createHash } from 'node:crypto';
import { z } from 'zod';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { recogniseFile } from '../files/recognise_file';
import { filePath } from '../models/argument_schemas';
import { largestOf } from '../models/extremes';
import { parseConfig } from '../models/validation';
import { readTextFile } from '../files/regular_file';
import { contentsOf, unusable, type Contents } from './json_tokenizer/contents';
import { Encoder } from './json_tokenizer/encoder';
import { libraryTokenizer, type LibraryTokenizer } from './json_tokenizer/library';
import { textDecoder } from './json_tokenizer/text_decoder';
import { knownTokens } from './known_tokens';
import { tokenRoles } from './token_roles';
import {
  MOST_CONTEXT,
  requireIds,
  requireText,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerFiles,
  type TokenRoles,
} from './tokenizer';
import { readSide } from './tokenizer_folder';

/** Its name in checkpoints and token files, which is the name of the file next to them. */
export const TOKENIZER_JSON = 'tokenizer.json';

/** Larger files are not tokenizers: the largest in use have 33 MB. */
const MOST_BYTES = 2 ** 28;

/** What a tokenizer.json does not say about a tokenizer. */
export interface JsonTokenizerOptions {
  /** The roles of its tokens. Default: inferred from the names of its special tokens, such as `<s>` and `</s>`. */
  readonly roles?: TokenRoles | undefined;
  /** Its files other than tokenizer.json, which checkpoints keep. Default: none. */
  readonly files?: TokenizerFiles | undefined;
}

/**
 * The tokenizer that a Hugging Face `tokenizer.json` describes: byte-level and other BPE, WordPiece, Unigram, WordLevel.
 * Hugging Face's own library encodes, so the ids are the same as in transformers. It never adds special tokens, but
 * recognizes those in a text. Truncation, padding and dropout in the file have no effect.
 *
 * @example
 * const tokenizer = await JsonTokenizer.fromFile('gpt2/tokenizer.json');
 * await tokenizer.encode('Hello'); // Int32Array [15496]
 */
export class JsonTokenizer implements Tokenizer {
  readonly name = TOKENIZER_JSON;
  readonly vocabSize: number;
  readonly startToken?: number;
  readonly endOfTextToken?: number;
  readonly padToken?: number;
  readonly unknownToken?: number;
  readonly files?: TokenizerFiles;
  /** Ids of the added tokens that the file marks as special, by their text. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** Of the file's text, in hexadecimal. */
  readonly sha256: string;
  private readonly textTokens: ReturnType<LibraryTokenizer['getDecoder']>;
  /** The token of each id; undefined for unused ids. */
  private readonly tokens: readonly (string | undefined)[];
  /** Bytes of each id, for a vocabulary of bytes. */
  private readonly bytes: readonly (Uint8Array | undefined)[] | undefined;

  /**
   * Takes the text of a tokenizer.json; `fromFile` reads one. A large vocabulary takes up to a second.
   *
   * @param json - the text of a tokenizer.json.
   * @param file - its name in error messages.
   * @param options - what the file does not say.
   * @throws TesseraeError `ERR_DATA` if the text is not a tokenizer.json, or has parts that are not supported or could hang the
   * process; `ERR_NATIVE_LOAD` if Hugging Face's library has no build for this machine.
   */
  constructor(
    readonly json: string,
    file = TOKENIZER_JSON,
    { roles, files }: JsonTokenizerOptions = {},
  ) {
    parseConfig(z.string(), json, { at: 'json' });
    const contents = contentsOf(json, file);
    const library = loaded(contents, file);
    this.textTokens = library.getDecoder();
    const { tokens, specialTokens } = contents;
    this.tokens = tokens;
    this.vocabSize = tokens.length;
    this.specialTokens = specialTokens;
    this.bytes = contents.decoder?.type === 'ByteLevel' ? bytesOfTokens(contents) : undefined;
    const { startToken, endOfTextToken, padToken, unknownToken } =
      roles ?? tokenRoles(knownTokens(json)).roles;
    if (startToken !== undefined) this.startToken = startToken;
    if (endOfTextToken !== undefined) this.endOfTextToken = endOfTextToken;
    if (padToken !== undefined) this.padToken = padToken;
    if (unknownToken !== undefined) this.unknownToken = unknownToken;
    if (files) this.files = files;
    this.sha256 = createHash('sha256').update(json).digest('hex');
    const { libraryJson, noTokenId, shifted, isLinear } = contents;
    const longest = largestOf(Array.from(contents.added, ({ length }) => length));
    const source = {
      libraryJson,
      vocabSize: tokens.length,
      noTokenId,
      shifted,
      isLinear,
      longest: Math.max(longest, 0),
    };
    ENCODERS.set(this, new Encoder(source, library));
  }

  /**
   * Reads a tokenizer.json and the roles of its tokens, which come from the files next to it: tokenizer_config.json,
   * special_tokens_map.json, generation_config.json and config.json, in this order, and last the names of special tokens.
   *
   * @throws TesseraeError `ERR_DATA` for a file that can't be read, and as the constructor does.
   */
  static async fromFile(file: string, options: JsonTokenizerOptions = {}): Promise<JsonTokenizer> {
    parseConfig(filePath, file, { at: 'file' });
    let text: string;
    try {
      text = await readTextFile(file, MOST_BYTES);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw (
        exhaustedError(`'${file}' can't be read`, cause) ??
        unusable(file, code === 'ENOENT' ? 'the file does not exist' : messageOf(cause), cause)
      );
    }
    const side = options.roles === undefined ? await readSide(text, file) : {};
    try {
      return new JsonTokenizer(text, file, { ...side, ...options });
    } catch (error) {
      const what = await recogniseFile(file, 'JSON');
      throw what === undefined ? error : unusable(file, `it is ${what}`, error);
    }
  }

  /**
   * Returns the token ids of a text, without special tokens at its ends. Texts of any length are encoded exactly as a whole.
   *
   * @throws TesseraeError `ERR_DATA` for a character without a token, with its `offset`, `line` and `column` in `details`, or
   * for a text of millions of characters without a place to cut it.
   */
  async encode(text: string): Promise<Int32Array> {
    requireText(text);
    const [ids] = text === '' ? [] : await encoderOf(this).encode([{ text }]);
    return ids ?? new Int32Array();
  }

  hasToken(id: number): boolean {
    return this.tokens[id] !== undefined;
  }

  decode(ids: ArrayLike<number>): string {
    requireIds(ids);
    if (this.bytes) {
      const decoder = this.decoder();
      const pieces = Array.from(ids, (one) => decoder.push(one));
      return pieces.join('') + decoder.end();
    }
    return this.textOf(Array.from(ids, (one) => this.checked(one)));
  }

  /** Byte-level tokens complete a character with its last byte. */
  decoder(prompt: ArrayLike<number> = []): TokenDecoder {
    requireIds(prompt);
    const context: number[] = [];
    for (let i = Math.max(0, prompt.length - MOST_CONTEXT); i < prompt.length; i++)
      context.push(this.checked(prompt[i] ?? NaN));
    const { bytes } = this;
    if (!bytes) {
      const decoder = textDecoder(
        (ids) => this.textOf(ids),
        (one) => this.tokens[one],
        context,
      );
      return { push: (one) => decoder.push(this.checked(one)), end: () => decoder.end() };
    }
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    const push = (one: number): string =>
      utf8.decode(bytes[this.checked(one)] ?? UNASSIGNED, { stream: true });
    context.forEach(push);
    return { push, end: () => utf8.decode() };
  }

  private textOf(ids: readonly number[]): string {
    const tokens = ids.map((one) => this.tokens[one]).filter((token) => token !== undefined);
    if (tokens.length === 0) return '';
    return this.textTokens ? this.textTokens.decode(tokens) : tokens.join(' ');
  }

  private checked(one: number): number {
    if (Number.isInteger(one) && one >= 0 && one < this.vocabSize) return one;
    throw new TesseraeError(
      'ERR_DATA',
      `token id ${one} is not in the tokenizer's vocabulary of 0 to ${this.vocabSize - 1}`,
      { details: { id: one, vocabSize: this.vocabSize } },
    );
  }
}

const ENCODERS = new WeakMap<JsonTokenizer, Encoder>();

/** The encoder of a tokenizer, which encodes many texts at once, and parts of texts. */
export function encoderOf(tokenizer: JsonTokenizer): Encoder {
  const encoder = ENCODERS.get(tokenizer);
  if (!encoder) throw new TesseraeError('ERR_INTERNAL', 'a tokenizer has no encoder');
  return encoder;
}

function loaded(contents: Contents, file: string): LibraryTokenizer {
  let library: LibraryTokenizer;
  try {
    library = libraryTokenizer(contents.libraryJson);
  } catch (cause) {
    throw cause instanceof TesseraeError ? cause : unusable(file, messageOf(cause), cause);
  }
  for (const content of contents.added) {
    const given = library.tokenToId(content) ?? -1;
    if ((contents.shifted.get(given) ?? given) !== contents.vocabulary.get(content))
      throw unusable(
        file,
        `the library gives the added token ${JSON.stringify(content)} another id, ${given}`,
      );
  }
  const normalizer = library.getNormalizer();
  for (const content of normalizer ? contents.normalizedAdded : [])
    // The library finds an empty text everywhere and never gets past it.
    if (normalizer?.normalizeString(content) === '')
      throw unusable(file, `its normalizer leaves nothing of the added token ${JSON.stringify(content)}`);
  return library;
}

/** U+FFFD, for an id in the vocabulary's range that has no token. */
const UNASSIGNED = Buffer.from('\uFFFD', 'utf8');

/** Added tokens mean their text, all others the bytes of their letters. */
function bytesOfTokens({ tokens, added }: Contents): (Uint8Array | undefined)[] {
  return tokens.map((token) => {
    if (token === undefined) return undefined;
    const letters = Array.from(token, (letter) => BYTE_OF_LETTER.get(letter));
    const whole = letters.every((byte) => byte !== undefined);
    return whole && !added.has(token) ? Uint8Array.from(letters) : Buffer.from(token, 'utf8');
  });
}

/**
 * GPT-2's letters for bytes (`bytes_to_unicode` in its encoder.py): printable Latin-1 characters are their own letters; the
 * other bytes get U+0100 and on, in order.
 */
const BYTE_OF_LETTER: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  const letters = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++)
    letters.set(String.fromCharCode(printable(byte) ? byte : next++), byte);
  return letters;
})();
