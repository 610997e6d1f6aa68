import { createHash } from 'node:crypto';
import { Tokenizer as Untyped } from '@huggingface/tokenizers';
import { z } from 'zod';
import { messageOf, TesseraeError } from '../errors';
import { recogniseFile } from '../files/recognise_file';
import { filePath } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { readTextFile } from '../files/regular_file';
import { knownTokens } from './known_tokens';
import { tokenRoles } from './token_roles';
import {
  requireIds,
  requireText,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerFiles,
  type TokenRoles,
} from './tokenizer';
import { readSide } from './tokenizer_folder';

/** What is used of the package: its typings name files without their endings, so that Node's resolution finds none. */
interface HuggingFace {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: readonly (number | undefined)[] };
  decode(ids: readonly number[], options: { skip_special_tokens: boolean }): string;
  /** BPE's has a cache of the words that it merged. */
  readonly model: { cache?: unknown };
}
const HuggingFace = Untyped as unknown as new (json: object, config: object) => HuggingFace;

/** The name that checkpoints and token files call it by: that of the file beside them. */
export const TOKENIZER_JSON = 'tokenizer.json';

/** Larger files are no tokenizers: the largest in use have 33 MB. */
const MOST_BYTES = 2 ** 28;
/** More tokens than any tokenizer in use has, so that a lying id does not become memory. */
const MOST_TOKENS = 2 ** 24;
/** A character has at most four bytes, so what eight tokens leave unfinished is not one. */
const MOST_HELD = 8;

/** Words of which the merges are kept. */
const MOST_CACHED = 2 ** 16;

const id = z
  .int()
  .min(0)
  .max(MOST_TOKENS - 1);
const component = z.looseObject({ type: z.string() }).nullish();

const schema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id, content: z.string().min(1).max(1000), special: z.boolean().default(false) }))
    .default([]),
  normalizer: component,
  pre_tokenizer: component,
  decoder: component,
  model: z.looseObject({
    type: z.enum(['BPE', 'WordPiece', 'Unigram']).optional(),
    vocab: z.unknown(),
    merges: z.unknown().optional(),
    unk_token: z.string().nullish(),
  }),
});

type Contents = z.output<typeof schema>;

/** Tokens of a prompt that decide about the text of what continues it. */
const MOST_CONTEXT = 16;

/** What is known of a tokenizer beside its tokenizer.json. */
export interface JsonTokenizerOptions {
  /** What its tokens are for. Default: what the names of its special tokens say, such as `<s>` and `</s>`. */
  readonly roles?: TokenRoles | undefined;
  /** What belongs to it beside its tokenizer.json, which checkpoints keep. Default: nothing. */
  readonly files?: TokenizerFiles | undefined;
}

/**
 * The tokenizer that a Hugging Face `tokenizer.json` describes: byte-level and other BPE, WordPiece, Unigram. It adds no
 * special tokens of its own accord; those that stand in a text are taken for what they are.
 *
 * @example
 * const tokenizer = await JsonTokenizer.fromFile('gpt2/tokenizer.json');
 * tokenizer.encode('Hello'); // Int32Array [15496]
 */
export class JsonTokenizer implements Tokenizer {
  readonly name = TOKENIZER_JSON;
  readonly vocabSize: number;
  readonly startToken?: number;
  readonly endOfTextToken?: number;
  readonly padToken?: number;
  readonly unknownToken?: number;
  readonly files?: TokenizerFiles;
  /** Ids of the added tokens that the file calls special, by their text. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** Of the file's text, in hexadecimal. */
  readonly sha256: string;
  private readonly tokenizer: HuggingFace;
  /** Token of each id; an id in between that has none is undefined. */
  private readonly tokens: readonly (string | undefined)[];
  /** Bytes of each id, for a vocabulary of bytes. */
  private readonly bytes: readonly (Uint8Array | undefined)[] | undefined;

  /**
   * Takes the text of a tokenizer.json; `fromFile` reads one.
   *
   * @param json - the text of a tokenizer.json.
   * @param file - how errors call it.
   * @throws TesseraeError `ERR_DATA` for a text that is no such description, or has parts that are not supported.
   */
  constructor(
    readonly json: string,
    file = TOKENIZER_JSON,
    { roles, files }: JsonTokenizerOptions = {},
  ) {
    parseConfig(z.string(), json, { at: 'json' });
    const contents = parse(json, file);
    const vocabulary = vocabularyOf(contents, file);
    checkMerges(contents, vocabulary, file);
    checkLengths(contents.pre_tokenizer, file);
    try {
      // Spaces stay as they are, and nothing is added around a text: the post-processor has nothing to do.
      this.tokenizer = new HuggingFace(
        { normalizer: null, pre_tokenizer: null, decoder: null, ...contents, post_processor: null },
        { clean_up_tokenization_spaces: false },
      );
    } catch (cause) {
      throw unusable(file, messageOf(cause), cause);
    }
    if (this.tokenizer.model.cache !== undefined) this.tokenizer.model.cache = new WordCache();
    const tokens: (string | undefined)[] = [];
    for (const [token, number] of vocabulary) tokens[number] = token;
    this.tokens = Array.from(tokens);
    this.vocabSize = tokens.length;
    this.bytes = isByteLevel(contents) ? this.bytesOfTokens(contents) : undefined;
    this.specialTokens = new Map(
      contents.added_tokens
        .filter(({ special }) => special)
        .map(({ content, id: number }) => [content, number]),
    );
    const { startToken, endOfTextToken, padToken, unknownToken } =
      roles ?? tokenRoles(knownTokens(json)).roles;
    if (startToken !== undefined) this.startToken = startToken;
    if (endOfTextToken !== undefined) this.endOfTextToken = endOfTextToken;
    if (padToken !== undefined) this.padToken = padToken;
    if (unknownToken !== undefined) this.unknownToken = unknownToken;
    if (files) this.files = files;
    this.sha256 = createHash('sha256').update(json).digest('hex');
  }

  /**
   * Reads a tokenizer.json, and what the files beside it say of its tokens: tokenizer_config.json, special_tokens_map.json,
   * generation_config.json and config.json, in this order, and last the names of its special tokens.
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
      throw unusable(file, code === 'ENOENT' ? 'there is no such file' : messageOf(cause), cause);
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
   * Token ids of a text, without special tokens at its ends.
   *
   * @throws TesseraeError `ERR_DATA` for a character that the vocabulary has no token for.
   */
  async encode(text: string): Promise<Int32Array> {
    requireText(text);
    if (text === '') return new Int32Array();
    let ids: readonly (number | undefined)[];
    try {
      ({ ids } = this.tokenizer.encode(text, { add_special_tokens: false }));
    } catch (cause) {
      throw new TesseraeError('ERR_DATA', `the tokenizer failed on a text: ${messageOf(cause)}`, { cause });
    }
    const encoded = new Int32Array(ids.length);
    for (const [index, number] of ids.entries()) {
      if (number === undefined || !(number >= 0 && number < this.vocabSize))
        throw new TesseraeError(
          'ERR_DATA',
          `a text has characters that the vocabulary of ${this.vocabSize} tokens has none for, and there is no unknown ` +
            'token: use a tokenizer that was trained on such text, or a byte-level one',
        );
      encoded[index] = number;
    }
    return encoded;
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

  /** A decoder of one sequence, token by token; byte-level tokens give a character once its last byte is there. */
  decoder(prompt: ArrayLike<number> = []): TokenDecoder {
    requireIds(prompt);
    const { bytes } = this;
    const context = Array.from(
      { length: Math.min(prompt.length, MOST_CONTEXT) },
      (_, i) => prompt[prompt.length - Math.min(prompt.length, MOST_CONTEXT) + i] ?? NaN,
    );
    if (!bytes) return this.textDecoder(context);
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    const push = (one: number): string =>
      utf8.decode(bytes[this.checked(one)] ?? UNASSIGNED, { stream: true });
    context.forEach(push);
    return { push, end: () => utf8.decode() };
  }

  /**
   * For vocabularies of text, where the text of a token depends on those around it: what a token adds is the difference
   * between the texts with and without it, after some tokens of context.
   */
  private textDecoder(prompt: readonly number[]): TokenDecoder {
    let [context, held]: (readonly number[])[] = [prompt.map((one) => this.checked(one)), []];
    const added = (): string => {
      const before = this.textOf(context ?? []);
      const after = this.textOf([...(context ?? []), ...(held ?? [])]);
      return after.slice(before.length);
    };
    const release = (text: string): string => {
      [context, held] = [held, []];
      return text;
    };
    return {
      push: (one) => {
        held = [...(held ?? []), this.checked(one)];
        const text = added();
        return text.endsWith('\uFFFD') && (held?.length ?? 0) < MOST_HELD ? '' : release(text);
      },
      end: () => (held?.length === 0 ? '' : release(added())),
    };
  }

  private textOf(ids: readonly number[]): string {
    const known = ids.filter((one) => this.tokens[one] !== undefined);
    return known.length === 0 ? '' : this.tokenizer.decode(known, { skip_special_tokens: false });
  }

  private bytesOfTokens({ added_tokens }: Contents): (Uint8Array | undefined)[] {
    const added = new Set(added_tokens.map(({ content }) => content));
    return this.tokens.map((token) => {
      if (token === undefined) return undefined;
      const letters = Array.from(token, (letter) => BYTE_OF_LETTER.get(letter));
      const whole = letters.every((byte) => byte !== undefined);
      return whole && !added.has(token) ? Uint8Array.from(letters) : Buffer.from(token, 'utf8');
    });
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

/**
 * Takes the place of the package's cache, which moves each word that it finds to its end to know the least used: that takes
 * a third of the time of a text.
 */
class WordCache {
  private readonly words = new Map<string, string[]>();

  get(word: string): string[] | undefined {
    return this.words.get(word);
  }

  put(word: string, tokens: string[]): void {
    if (this.words.size >= MOST_CACHED) this.words.clear();
    this.words.set(word, tokens);
  }
}

/** U+FFFD, for an id in the vocabulary's range that has no token. */
const UNASSIGNED = Buffer.from('\uFFFD', 'utf8');

/**
 * GPT-2's letters for bytes (`bytes_to_unicode` in its encoder.py): printable Latin-1 stands for itself, the other bytes
 * for U+0100 and on, in order.
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

function parse(json: string, file: string): Contents {
  try {
    const contents = schema.parse(JSON.parse(json.replace(/^\uFEFF/, '')));
    const { model } = contents;
    // Older files do not say what type their model is.
    const type = Array.isArray(model.vocab) ? 'Unigram' : model.merges === undefined ? 'WordPiece' : 'BPE';
    return { ...contents, model: { ...model, type: model.type ?? type } };
  } catch (cause) {
    throw unusable(file, cause instanceof z.ZodError ? issueOf(cause) : messageOf(cause), cause);
  }
}

/** The first of what is wrong. */
const issueOf = ({ issues: [first] }: z.ZodError): string =>
  first === undefined ? 'it is not valid' : `${first.path.join('.') || 'it'}: ${first.message}`;

/** Every token with its id, which no other has. */
function vocabularyOf({ model, added_tokens }: Contents, file: string): Map<string, number> {
  const vocabulary = new Map<string, number>();
  const owners = new Map<number, string>();
  const add = (token: unknown, number: unknown): void => {
    if (typeof token !== 'string' || !id.safeParse(number).success)
      throw unusable(
        file,
        `the token ${shown(token)} has the id ${shown(number)}, not an integer in [0, ${MOST_TOKENS})`,
      );
    const owner = owners.get(number as number);
    if (owner !== undefined && owner !== token)
      throw unusable(
        file,
        `the id ${shown(number)} is that of two tokens, ${shown(owner)} and ${shown(token)}`,
      );
    const other = vocabulary.get(token);
    if (other !== undefined && other !== number)
      throw unusable(file, `the token ${shown(token)} has two ids, ${other} and ${shown(number)}`);
    owners.set(number as number, token);
    vocabulary.set(token, number as number);
  };
  const { vocab } = model;
  if (Array.isArray(vocab))
    for (const [number, entry] of vocab.entries()) {
      // Unigram: pairs of a token and the logarithm of its probability.
      if (!Array.isArray(entry) || typeof entry[1] !== 'number')
        throw unusable(file, `model.vocab[${number}] is not a pair of a token and its score`);
      add(entry[0], number);
    }
  else if (typeof vocab === 'object' && vocab !== null)
    for (const [token, number] of Object.entries(vocab)) add(token, number);
  else throw unusable(file, 'model.vocab is neither an object nor an array');
  for (const { content, id: number } of added_tokens) add(content, number);
  if (vocabulary.size === 0) throw unusable(file, 'its vocabulary is empty');
  return vocabulary;
}

/** A merge that the vocabulary has no token for would lose the text that it stands for. */
function checkMerges({ model }: Contents, vocabulary: ReadonlyMap<string, number>, file: string): void {
  const { merges } = model;
  if (merges === undefined) {
    if (model.type === 'BPE') throw unusable(file, 'model.merges is missing');
    return;
  }
  if (!Array.isArray(merges)) throw unusable(file, 'model.merges is not an array');
  const prefix = model['continuing_subword_prefix'];
  const inner = typeof prefix === 'string' ? prefix.length : 0;
  for (const [index, merge] of (merges as unknown[]).entries()) {
    const pair: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== 'string' || typeof right !== 'string')
      throw unusable(file, `model.merges[${index}] is not a pair of tokens`);
    const unknown = [left, right, left + right.slice(inner)].find((token) => !vocabulary.has(token));
    if (unknown !== undefined)
      throw unusable(
        file,
        `model.merges[${index}] has the token ${shown(unknown)}, which model.vocab does not have`,
      );
  }
}

/** A FixedLength of 0 would cut a text into pieces without end. */
function checkLengths(pretokenizer: unknown, file: string): void {
  if (typeof pretokenizer !== 'object' || pretokenizer === null) return;
  const { type, length, pretokenizers } = pretokenizer as Record<string, unknown>;
  if (type === 'FixedLength' && !(Number.isInteger(length) && (length as number) > 0))
    throw unusable(
      file,
      `its FixedLength pre-tokenizer has the length ${shown(length)}, not an integer of at least 1`,
    );
  if (Array.isArray(pretokenizers)) for (const one of pretokenizers) checkLengths(one, file);
}

/** Whether tokens stand for bytes alone, so that each can be decoded without those around it. */
const isByteLevel = ({ decoder }: Contents): boolean => decoder?.type === 'ByteLevel';

const shown = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 100);

function unusable(file: string, why: string, cause?: unknown): TesseraeError {
  return new TesseraeError(
    'ERR_DATA',
    `'${file}' is not a tokenizer that can be used: ${why}. Give the tokenizer.json of a BPE, WordPiece or Unigram tokenizer`,
    { details: { path: file }, cause },
  );
}
