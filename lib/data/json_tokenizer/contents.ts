/** Reads a tokenizer.json: its tokens, and the text to pass to Hugging Face's library. */
import { z } from 'zod';
import { messageOf, TesseraeError } from '../../errors';
import { componentsOf, shown, type Components } from './components';

/** More tokens than any tokenizer in use has; bounds the memory that a wrong id can take. */
const MOST_TOKENS = 2 ** 24;
/** Each one makes the library slower. */
const MOST_ADDED = 2 ** 16;
/** WordPiece tries a word at every length; real files have 100. */
const MOST_WORD = 1000;

/** The unknown token for files that name none. No text contains it. */
const NO_TOKEN = '\u{10FFFE}no token\u{10FFFF}';

const id = z
  .int()
  .min(0)
  .max(MOST_TOKENS - 1);

const schema = z.looseObject({
  version: z.unknown().optional(),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z.unknown().optional(),
  decoder: z.unknown().optional(),
  added_tokens: z
    .array(
      z.looseObject({
        id,
        content: z.string().min(1).max(1000),
        single_word: z.boolean().default(false),
        lstrip: z.boolean().default(false),
        rstrip: z.boolean().default(false),
        normalized: z.boolean().optional(),
        special: z.boolean().default(false),
      }),
    )
    .max(MOST_ADDED)
    .default([]),
  model: z.looseObject({
    type: z.enum(['BPE', 'WordPiece', 'Unigram', 'WordLevel']).optional(),
    vocab: z.unknown().optional(),
    merges: z.unknown().optional(),
    unk_token: z.string().nullish(),
    unk_id: z.int().nullish(),
    continuing_subword_prefix: z.string().max(100).nullish(),
    end_of_word_suffix: z.string().max(100).nullish(),
    max_input_chars_per_word: z.int().min(1).max(MOST_WORD).default(100),
    fuse_unk: z.boolean().default(false),
    byte_fallback: z.boolean().default(false),
    ignore_merges: z.boolean().default(false),
  }),
});

const isId = (value: unknown): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < MOST_TOKENS;

type File = z.output<typeof schema>;

/** The contents of a tokenizer.json. */
export interface Contents extends Components {
  /** Every token by its id; undefined for unused ids. */
  readonly tokens: readonly (string | undefined)[];
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Contents of all added tokens. */
  readonly added: ReadonlySet<string>;
  /** Those that are matched in the normalized text. */
  readonly normalizedAdded: readonly string[];
  readonly specialTokens: ReadonlyMap<string, number>;
  /** The text for the library: no truncation, padding, post-processor or dropout, and always an unknown token. */
  readonly libraryJson: string;
  /** The library's id for text without a token; undefined if the file has an unknown token. */
  readonly noTokenId: number | undefined;
  /** Ids that differ in the library, because `noTokenId` takes one → ours. */
  readonly shifted: ReadonlyMap<number, number>;
}

/** @throws TesseraeError `ERR_DATA` if the text is not a tokenizer.json, or could hang or end the process. */
export function contentsOf(json: string, file: string): Contents {
  const refuse = (why: string, cause?: unknown): never => {
    throw unusable(file, why, cause);
  };
  const parsed = parse(json, refuse);
  const components = componentsOf(parsed, refuse);
  const model = new Map<string, number>(modelVocabulary(parsed, refuse));
  checkMerges(parsed, model, refuse);
  checkAdded(parsed, refuse);
  const added = addedIds(parsed.added_tokens, model);
  const vocabulary = new Map([...model, ...added]);
  if (vocabulary.size === 0) refuse('its vocabulary is empty');
  const tokens: (string | undefined)[] = [];
  for (const [token, number] of vocabulary) {
    const other = tokens[number];
    if (other !== undefined)
      refuse(`the id ${number} belongs to two tokens, ${shown(other)} and ${shown(token)}`);
    tokens[number] = token;
  }
  const { libraryModel, noTokenId } = modelFor(parsed, model);
  const libraryAdded =
    noTokenId === undefined
      ? added
      : addedIds(parsed.added_tokens, new Map([...model, [NO_TOKEN, noTokenId]]));
  const shifted = new Map<number, number>();
  for (const [token, number] of libraryAdded) {
    const own = added.get(token) ?? number;
    if (own === number) continue;
    if (tokens[number] !== undefined && !added.has(tokens[number]))
      refuse(`the token ${shown(token)} can't be added: the ids of model.vocab have gaps`);
    shifted.set(number, own);
  }
  return {
    ...components,
    tokens: Array.from(tokens),
    vocabulary,
    added: new Set(added.keys()),
    normalizedAdded: parsed.added_tokens.filter(isNormalized).map(({ content }) => content),
    specialTokens: new Map(
      parsed.added_tokens
        .filter(({ special }) => special)
        .map(({ content }) => [content, vocabulary.get(content) ?? -1]),
    ),
    libraryJson: JSON.stringify({
      version: '1.0',
      ...{ truncation: null, padding: null, post_processor: null },
      added_tokens: parsed.added_tokens.map((token) => ({
        ...{ id: libraryAdded.get(token.content), content: token.content, special: token.special },
        ...{ single_word: token.single_word, lstrip: token.lstrip, rstrip: token.rstrip },
        normalized: isNormalized(token),
      })),
      normalizer: components.normalizer,
      pre_tokenizer: components.preTokenizer,
      decoder: components.decoder,
      model: libraryModel,
    }),
    noTokenId,
    shifted,
  };
}

/** An error that names the file and why it can't be used. */
export function unusable(file: string, why: string, cause?: unknown): TesseraeError {
  return new TesseraeError(
    'ERR_DATA',
    `'${file}' can't be used as a tokenizer: ${why}. Give the tokenizer.json of a BPE, WordPiece, Unigram or ` +
      'WordLevel tokenizer',
    { details: { path: file }, cause },
  );
}

type Refuse = (why: string, cause?: unknown) => never;

function parse(json: string, refuse: Refuse): File {
  let file: File;
  try {
    file = schema.parse(JSON.parse(json.replace(/^\uFEFF/, '')));
  } catch (cause) {
    return refuse(cause instanceof z.ZodError ? issueOf(cause) : messageOf(cause), cause);
  }
  const { version, model } = file;
  if (version !== undefined && version !== '1.0') refuse(`its version is ${shown(version)}, not "1.0"`);
  // Older files do not say what type their model is.
  const type = Array.isArray(model.vocab) ? 'Unigram' : model.merges === undefined ? 'WordPiece' : 'BPE';
  return { ...file, model: { ...model, type: model.type ?? type } };
}

/** The first problem. */
const issueOf = ({ issues: [first] }: z.ZodError): string =>
  first === undefined ? 'it is not valid' : `${first.path.join('.') || 'it'}: ${first.message}`;

/** The model's tokens with their ids. */
function* modelVocabulary({ model }: File, refuse: Refuse): Generator<[string, number]> {
  const { vocab, type } = model;
  const owners = new Map<number, string>();
  const checked = (token: unknown, number: unknown): [string, number] => {
    if (typeof token !== 'string' || !isId(number))
      return refuse(
        `the token ${shown(token)} has the id ${shown(number)}, not an integer in [0, ${MOST_TOKENS})`,
      );
    const owner = owners.get(number as number);
    if (owner !== undefined)
      refuse(`the id ${shown(number)} belongs to two tokens, ${shown(owner)} and ${shown(token)}`);
    owners.set(number as number, token);
    return [token, number as number];
  };
  if (Array.isArray(vocab)) {
    if (type !== 'Unigram') refuse('model.vocab is an array, which only a Unigram model has');
    const seen = new Set<unknown>();
    for (const [number, entry] of vocab.entries()) {
      // Pairs of a token and the logarithm of its probability.
      if (!Array.isArray(entry) || typeof entry[1] !== 'number' || !Number.isFinite(entry[1]))
        refuse(`model.vocab[${number}] is not a pair of a token and its score`);
      const [token] = entry as unknown[];
      if (seen.has(token)) refuse(`the token ${shown(token)} has two ids, the second is ${number}`);
      seen.add(token);
      yield checked(token, number);
    }
  } else if (typeof vocab === 'object' && vocab !== null) {
    if (type === 'Unigram')
      refuse('model.vocab is an object, but a Unigram model has pairs of tokens and scores');
    for (const [token, number] of Object.entries(vocab)) yield checked(token, number);
  } else refuse('model.vocab is neither an object nor an array');
}

/** A merge whose token is missing from the vocabulary ends the process. */
function checkMerges({ model }: File, vocabulary: ReadonlyMap<string, number>, refuse: Refuse): void {
  const { merges, type } = model;
  if (type !== 'BPE') return;
  if (merges === undefined) refuse('model.merges is missing');
  if (!Array.isArray(merges)) return refuse('model.merges is not an array');
  const prefix = model.continuing_subword_prefix ?? '';
  for (let index = 0; index < merges.length; index++) {
    const merge: unknown = merges[index];
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    const [left, right] = Array.isArray(pair) && pair.length === 2 ? (pair as unknown[]) : [];
    if (typeof left !== 'string' || typeof right !== 'string')
      return refuse(`model.merges[${index}] is not a pair of tokens`);
    if (!right.startsWith(prefix))
      refuse(`model.merges[${index}] does not continue with the prefix ${shown(prefix)}`);
    const merged = left + right.slice(prefix.length);
    if (!vocabulary.has(left) || !vocabulary.has(right) || !vocabulary.has(merged)) {
      const unknown = [left, right, merged].find((token) => !vocabulary.has(token));
      refuse(`model.merges[${index}] has the token ${shown(unknown)}, which model.vocab does not have`);
    }
  }
}

/** The library's default: special tokens are found in the text as it is. */
const isNormalized = ({ normalized, special }: File['added_tokens'][number]): boolean =>
  normalized ?? !special;

function checkAdded({ added_tokens }: File, refuse: Refuse): void {
  const seen = new Map<string, number>();
  for (const { content, id: number } of added_tokens) {
    const other = seen.get(content);
    if (other !== undefined && other !== number)
      refuse(`the token ${shown(content)} has two ids, ${other} and ${number}`);
    seen.set(content, number);
  }
}

/**
 * Ids of the added tokens as the library gives them: a token of the model keeps its id, and each other takes the next one
 * that is free, whatever the file says.
 */
export function addedIds(
  addedTokens: readonly { readonly content: string }[],
  model: ReadonlyMap<string, number>,
): Map<string, number> {
  const ids = new Map<string, number>();
  let last = -1;
  for (const { content } of addedTokens) {
    if (ids.has(content)) continue;
    const number = model.get(content) ?? Math.max(last + 1, model.size);
    ids.set(content, number);
    last = Math.max(last, number);
  }
  return ids;
}

/** The model for the library: the file's vocabulary, with one more token if it has no unknown token. */
function modelFor(
  { model }: File,
  vocabulary: ReadonlyMap<string, number>,
): { readonly libraryModel: object; readonly noTokenId: number | undefined } {
  const { type, vocab, merges, unk_id: unkId } = model;
  const unknown = model.unk_token ?? (type === 'WordPiece' ? '[UNK]' : undefined);
  const names =
    type === 'Unigram'
      ? typeof unkId === 'number' && unkId >= 0 && unkId < vocabulary.size
      : unknown !== undefined && vocabulary.has(unknown);
  let noTokenId: number | undefined;
  if (!names) {
    noTokenId = 0;
    for (const number of vocabulary.values()) noTokenId = Math.max(noTokenId, number + 1);
  }
  if (type === 'Unigram') {
    const pairs = vocab as [string, number][];
    // Not the smallest of all: the smallest decides what unknown characters cost.
    const [[, first] = ['', 0]] = pairs;
    if (!names) pairs.push([NO_TOKEN, first]);
    return {
      libraryModel: {
        ...{ type, unk_id: names ? unkId : noTokenId, byte_fallback: model.byte_fallback },
        vocab: pairs,
      },
      noTokenId,
    };
  }
  if (noTokenId !== undefined) (vocab as Record<string, number>)[NO_TOKEN] = noTokenId;
  const common = {
    type,
    vocab,
    unk_token: noTokenId === undefined ? unknown : NO_TOKEN,
  };
  const { continuing_subword_prefix, end_of_word_suffix, max_input_chars_per_word } = model;
  const more = {
    BPE: {
      ...{ merges, dropout: null, continuing_subword_prefix, end_of_word_suffix },
      ...{ byte_fallback: model.byte_fallback, ignore_merges: model.ignore_merges },
      // Each character without a token is reported separately.
      fuse_unk: noTokenId === undefined && model.fuse_unk,
    },
    WordPiece: { continuing_subword_prefix: continuing_subword_prefix ?? '##', max_input_chars_per_word },
    WordLevel: {},
  };
  return { libraryModel: { ...common, ...more[type ?? 'BPE'] }, noTokenId };
}
