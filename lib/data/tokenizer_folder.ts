/** Reads the files that transformers writes next to a tokenizer.json, or instead of it. */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { exhaustedError, TesseraeError } from '../errors';
import { parseJson } from '../files/json';
import { whyNotJson } from '../files/recognise_file';
import { readTextFile } from '../files/regular_file';
import { knownTokens } from './known_tokens';
import {
  namingRoles,
  tokenRoles,
  withNamedRoles,
  type JsonObject,
  type KnownTokens,
  type NamedRoles,
  type RoleSource,
} from './token_roles';
import type { TokenizerFiles, TokenRoles } from './tokenizer';

export const TOKENIZER_CONFIG = 'tokenizer_config.json';
export const SPECIAL_TOKENS_MAP = 'special_tokens_map.json';
export const ADDED_TOKENS = 'added_tokens.json';
/** The template that turns a conversation into text. */
const CHAT_TEMPLATES = ['chat_template.jinja', 'chat_template.json'];
/** The files of a model that contain ids of tokens. */
export const GENERATION_CONFIG = 'generation_config.json';
const MODEL_CONFIG = 'config.json';

/** The files of a tokenizer other than its tokenizer.json, which are kept with it. */
export const SIDE_FILES: readonly string[] = [
  TOKENIZER_CONFIG,
  SPECIAL_TOKENS_MAP,
  ADDED_TOKENS,
  ...CHAT_TEMPLATES,
];

/** The largest of these files in use have 1 MB. */
const MOST_BYTES = 2 ** 24;

/** What the other files say about a tokenizer. */
export interface TokenizerSide {
  readonly roles: TokenRoles;
  readonly files: TokenizerFiles;
}

/** Files whose neighbours give the roles of their tokens. */
const BESIDE_OTHERS = ['tokenizer.json', 'vocab.json'];

/**
 * Reads the files next to a tokenizer.json (or next to a vocab.json in its place), and the roles that they give to tokens. The
 * first that names a role decides: the caller, tokenizer_config.json, special_tokens_map.json, generation_config.json,
 * config.json, the names of special tokens. Emits a process warning if files disagree. Reads nothing next to a file of another
 * name.
 *
 * @param json - the text of the tokenizer.json.
 * @param file - its path.
 * @param named - roles that the caller names.
 * @throws TesseraeError `ERR_DATA` for an existing file that can't be read, `ERR_CONFIG` for a token that does not exist.
 */
export async function readSide(json: string, file: string, named: NamedRoles = {}): Promise<TokenizerSide> {
  const folder = path.dirname(file);
  const isBeside = BESIDE_OTHERS.includes(path.basename(file));
  const tokens = knownTokens(json);
  // The tokenizer made from such a text reports what is wrong with it.
  if (tokens.size === 0) return { roles: {}, files: {} };
  const files = await withNames(isBeside ? await readSideFiles(folder) : {}, folder, named, tokens);
  const sources: RoleSource[] = [];
  for (const name of [TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP])
    sources.push({ name, contents: await objectOf(files[name], folder, name), has: 'names' });
  if (isBeside) {
    const generation = await readText(path.join(folder, GENERATION_CONFIG));
    const contents = await objectOf(generation, folder, GENERATION_CONFIG);
    sources.push({ name: GENERATION_CONFIG, contents, has: 'ids' });
    sources.push({ name: MODEL_CONFIG, contents: await modelConfigIn(folder), has: 'ids' });
  }
  const { roles, warnings } = tokenRoles(tokens, sources);
  for (const warning of warnings) warnOnce(`'${folder}': ${warning}`);
  // Readers of the tokenizer.json without the model's files must find the same roles.
  if (isDeepStrictEqual(roles, tokenRoles(tokens, sources.slice(0, 2)).roles)) return { roles, files };
  const config = await objectOf(files[TOKENIZER_CONFIG], folder, TOKENIZER_CONFIG);
  return {
    roles,
    files: { ...files, [TOKENIZER_CONFIG]: textOf(namingRoles(config, roles, tokens.tokenOf)) },
  };
}

/** A file of this name may be anything; a model's file is checked when the model is read. */
async function modelConfigIn(folder: string): Promise<JsonObject> {
  try {
    return await objectOf(await readText(path.join(folder, MODEL_CONFIG)), folder, MODEL_CONFIG);
  } catch (error) {
    if (error instanceof TesseraeError && error.code === 'ERR_DATA') return {};
    throw error;
  }
}

/** Replaces the roles in all files by those that a caller named. */
async function withNames(
  files: TokenizerFiles,
  folder: string,
  named: NamedRoles,
  tokens: KnownTokens,
): Promise<TokenizerFiles> {
  if (Object.values(named).every((one) => one === undefined)) return files;
  const config = await objectOf(files[TOKENIZER_CONFIG], folder, TOKENIZER_CONFIG);
  const { [SPECIAL_TOKENS_MAP]: text, ...others } = files;
  const map = await objectOf(text, folder, SPECIAL_TOKENS_MAP);
  return {
    ...others,
    [TOKENIZER_CONFIG]: textOf(withNamedRoles(config, named, tokens)),
    ...(text === undefined ? {} : { [SPECIAL_TOKENS_MAP]: textOf(withNamedRoles(map, named, tokens)) }),
  };
}

/** The files that belong to a tokenizer, as far as a folder has them. */
export async function readSideFiles(folder: string): Promise<TokenizerFiles> {
  const texts = SIDE_FILES.map(async (name) => [name, await readText(path.join(folder, name))] as const);
  return Object.fromEntries(
    (await Promise.all(texts)).filter((entry): entry is readonly [string, string] => entry[1] !== undefined),
  );
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readTextFile(file, MOST_BYTES);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw await unreadable(file, cause);
  }
}

async function objectOf(text: string | undefined, folder: string, name: string): Promise<JsonObject> {
  if (text === undefined) return {};
  const file = path.join(folder, name);
  let value: unknown;
  try {
    value = parseJson(text, { rounds: true });
  } catch (cause) {
    throw await unreadable(file, cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw await unreadable(file, new Error('it is not a JSON object'));
}

const unreadable = async (file: string, cause: unknown): Promise<TesseraeError> =>
  exhaustedError(`'${file}' can't be read`, cause) ??
  new TesseraeError(
    'ERR_DATA',
    `'${file}' can't be read: ${await whyNotJson(file, cause)}. The tokenizer next to it needs this file for the roles of its ` +
      'tokens: repair it, or move it away',
    { details: { path: file }, cause },
  );

const warned = new Set<string>();

/** A file may be read several times by one command. */
function warnOnce(message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(message, { code: 'ERR_DATA' });
}

const textOf = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;
