/** Reads tokenizers of vocab.json and merges.txt, the files of GPT-2 before tokenizer.json existed. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { parseJson } from '../files/json';
import { recogniseUnmeant } from '../files/recognise';
import { recogniseFile, whyNotJson } from '../files/recognise_file';
import { readTextFile } from '../files/regular_file';
import { nameOf, type JsonObject } from './token_roles';
import type { TokenizerFiles } from './tokenizer';
import { ADDED_TOKENS, readSideFiles, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG } from './tokenizer_folder';

const VOCABULARY = 'vocab.json';
const MERGES = 'merges.txt';

/** The largest vocabularies of such files have 5 MB. */
const MOST_BYTES = 2 ** 26;

/** Classes of transformers whose vocab.json and merges.txt are GPT-2's byte-level BPE. Others may split texts differently. */
const BYTE_LEVEL =
  /^(GPT2|Roberta|Bart|Longformer|LED|Blenderbot|CodeGen|Whisper|Deberta|PreTrained)Tokenizer(Fast)?$/;
const CONVERT =
  "make a tokenizer.json with Python: from transformers import AutoTokenizer as T; T.from_pretrained('FROM')" +
  ".save_pretrained('TO')";

/** The two files that make a tokenizer. */
export interface VocabularyFiles {
  readonly vocabulary: string;
  readonly merges: string;
}

const PAIRS = [
  [VOCABULARY, MERGES],
  [MERGES, VOCABULARY],
] as const;

/**
 * The pair that a file belongs to, by its name: vocab.json, merges.txt, or one of them after the name of a model, such as
 * gpt2-vocab.json. Undefined for any other name.
 *
 * @throws TesseraeError `ERR_DATA` if the other one is missing.
 */
export async function pairOf(file: string): Promise<VocabularyFiles | undefined> {
  for (const [own, other] of PAIRS) {
    if (!file.endsWith(own)) continue;
    const beside = file.slice(0, -own.length) + other;
    if (!(await isFile(beside))) throw missing(file, beside);
    return own === VOCABULARY ? { vocabulary: file, merges: beside } : { vocabulary: beside, merges: file };
  }
  return undefined;
}

/**
 * The pair of a folder; undefined if it has neither file.
 *
 * @throws TesseraeError `ERR_DATA` if it has only one of them.
 */
export async function pairIn(folder: string): Promise<VocabularyFiles | undefined> {
  const [vocabulary, merges] = [path.join(folder, VOCABULARY), path.join(folder, MERGES)];
  const [hasVocabulary, hasMerges] = await Promise.all([isFile(vocabulary), isFile(merges)]);
  if (hasVocabulary && hasMerges) return { vocabulary, merges };
  if (hasVocabulary) throw missing(vocabulary, merges);
  if (hasMerges) throw missing(merges, vocabulary);
  return undefined;
}

/** What else a folder has that makes a tokenizer, for messages. */
export async function otherTokenizerIn(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch((): string[] => []);
  return names.find((name) =>
    /^(tokenizer\.model|spiece\.model|sentencepiece.*\.model|vocab\.txt|.*\.tiktoken)$/.test(name),
  );
}

function missing(file: string, other: string): TesseraeError {
  const what = path.basename(file).endsWith(MERGES) ? 'the merges' : 'the vocabulary';
  return new TesseraeError(
    'ERR_DATA',
    `'${file}' has ${what} of a byte-level BPE tokenizer, which also needs '${path.basename(other)}': put both into one ` +
      `folder, or ${CONVERT}`,
    { details: { path: file } },
  );
}

/**
 * The text of the tokenizer.json that transformers would make of a pair, with the tokens that the files beside them add.
 *
 * @throws TesseraeError `ERR_DATA` for files that can't be read or belong to another kind of tokenizer.
 */
export async function tokenizerJsonOf({ vocabulary, merges }: VocabularyFiles): Promise<string> {
  const vocab = await readObject(vocabulary);
  const side = path.basename(vocabulary) === VOCABULARY ? await readSideFiles(path.dirname(vocabulary)) : {};
  const { config, map, added } = await sideObjects(side, path.dirname(vocabulary));
  const kind = config['tokenizer_class'];
  if (typeof kind === 'string' && !BYTE_LEVEL.test(kind))
    throw unusable(
      vocabulary,
      `it belongs to a ${kind}, which may split texts differently than GPT-2's: ${CONVERT}`,
    );
  if (!Object.keys(vocab).some((token) => token.startsWith('Ġ')))
    throw unusable(
      vocabulary,
      `it has no token with 'Ġ', the letter of a space, so it is not byte-level: ${CONVERT}`,
    );
  const byteLevel = { type: 'ByteLevel', add_prefix_space: config['add_prefix_space'] === true };
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocab, added, [map, config]),
    normalizer: null,
    pre_tokenizer: { ...byteLevel, trim_offsets: true, use_regex: true },
    post_processor: { ...byteLevel, trim_offsets: false, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      vocab,
      merges: await readMerges(merges),
    },
  };
  return JSON.stringify(json);
}

/** Tokens that are not made of others, in the order of their ids. */
function addedTokens(vocab: JsonObject, added: JsonObject, configs: readonly JsonObject[]): object[] {
  const ids = new Map<string, unknown>(Object.entries(added));
  const flags = new Map<string, JsonObject>();
  for (const config of configs) {
    const decoder = config['added_tokens_decoder'];
    for (const [id, token] of Object.entries(
      typeof decoder === 'object' && decoder !== null ? decoder : {},
    )) {
      const name = nameOf(token);
      if (name === undefined) continue;
      ids.set(name, Number(id));
      flags.set(name, token as JsonObject);
    }
    const more = config['additional_special_tokens'];
    const named = Object.entries(config).flatMap(([key, token]) => (/^\w+_token$/.test(key) ? [token] : []));
    for (const token of [...named, ...(Array.isArray(more) ? (more as unknown[]) : [])]) {
      const name = nameOf(token);
      const id =
        name === undefined
          ? undefined
          : (ids.get(name) ?? (Object.hasOwn(vocab, name) ? vocab[name] : undefined));
      if (name === undefined || id === undefined) continue;
      ids.set(name, id);
      flags.set(name, {
        ...(typeof token === 'object' && token !== null ? token : {}),
        ...flags.get(name),
        special: true,
      });
    }
  }
  // What GPT-2's class of transformers calls special unless it is told otherwise.
  const end = '<|endoftext|>';
  if (!ids.has(end) && Object.hasOwn(vocab, end)) {
    ids.set(end, vocab[end]);
    flags.set(end, { special: true });
  }
  return Array.from(ids, ([content, id]) => {
    const flag = (name: string): boolean => flags.get(content)?.[name] === true;
    return {
      ...{ id, content, single_word: flag('single_word'), lstrip: flag('lstrip'), rstrip: flag('rstrip') },
      ...{ normalized: flag('normalized'), special: flag('special') },
    };
  }).sort((a, b) => Number(a.id) - Number(b.id));
}

async function sideObjects(
  side: TokenizerFiles,
  folder: string,
): Promise<{ config: JsonObject; map: JsonObject; added: JsonObject }> {
  const read = (name: string): Promise<JsonObject> | JsonObject =>
    side[name] === undefined ? {} : readObject(path.join(folder, name));
  return {
    config: await read(TOKENIZER_CONFIG),
    map: await read(SPECIAL_TOKENS_MAP),
    added: await read(ADDED_TOKENS),
  };
}

async function readObject(file: string): Promise<JsonObject> {
  try {
    const value = parseJson(await readTextFile(file, MOST_BYTES), { rounds: true });
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new Error('it is not a JSON object of tokens and their ids');
    return value as JsonObject;
  } catch (cause) {
    throw unusable(file, await whyNotJson(file, cause), cause);
  }
}

async function readMerges(file: string): Promise<string[]> {
  let text: string;
  try {
    text = await readTextFile(file, MOST_BYTES);
  } catch (cause) {
    throw unusable(file, messageOf(cause), cause);
  }
  const unmeant = recogniseUnmeant(Buffer.from(text), 'text');
  if (unmeant !== undefined) throw unusable(file, `it is ${unmeant}`);
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const merges = lines.filter((line) => line !== '' && !line.startsWith('#version'));
  const wrong = merges.find((line) => !/^[^ ]+ [^ ]+$/.test(line));
  if (wrong === undefined) return merges;
  const what = await recogniseFile(file, 'text');
  throw unusable(
    file,
    what === undefined
      ? `line ${lines.indexOf(wrong) + 1} is not two tokens with a space between them`
      : `it is ${what}`,
  );
}

const unusable = (file: string, why: string, cause?: unknown): TesseraeError =>
  exhaustedError(`'${file}' can't be read`, cause) ??
  new TesseraeError('ERR_DATA', `'${file}' can't be used as a tokenizer: ${why}`, {
    details: { path: file },
    cause,
  });

const isFile = (file: string): Promise<boolean> =>
  stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
