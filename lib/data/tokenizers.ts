import { stat } from 'node:fs/promises';
import path from 'node:path';
import { TesseraeError } from '../errors';
import { nearestName } from '../models/validation';
import { ByteTokenizer } from './byte_tokenizer';
import { JsonTokenizer, TOKENIZER_JSON } from './json_tokenizer';
import type { NamedRoles } from './token_roles';
import type { Tokenizer } from './tokenizer';
import { readSide } from './tokenizer_folder';
import { otherTokenizerIn, pairIn, pairOf, tokenizerJsonOf, type VocabularyFiles } from './vocabulary_files';

/** Names of tokenizers in checkpoints and token files. */
export const TOKENIZER_NAMES = ['byte', TOKENIZER_JSON] as const;

/**
 * The tokenizer of that name, or undefined.
 *
 * @param file - path of the tokenizer.json, which is read if the name needs it.
 * @throws TesseraeError `ERR_DATA` if that file can't be read or used.
 */
export async function tokenizerNamed(name: string, file: string): Promise<Tokenizer | undefined> {
  if (name === TOKENIZER_JSON) return JsonTokenizer.fromFile(file);
  return name === 'byte' ? new ByteTokenizer() : undefined;
}

/**
 * The tokenizer of a folder: its tokenizer.json, or else its vocab.json and merges.txt. Undefined if it has neither.
 *
 * @throws TesseraeError `ERR_DATA` if they can't be read or used, or one of the two is missing.
 */
export async function tokenizerIn(folder: string): Promise<Tokenizer | undefined> {
  const file = path.join(folder, TOKENIZER_JSON);
  if (await is(file, 'isFile')) return JsonTokenizer.fromFile(file);
  const pair = await pairIn(folder);
  return pair && ofPair(pair);
}

/**
 * The tokenizer that a person names: `byte`; or a tokenizer.json, a vocab.json with a merges.txt next to it, or a folder
 * with either.
 *
 * @param named - tokens that the person names for roles; they override the files.
 * @throws TesseraeError `ERR_DATA` when it can't be read or used, `ERR_CONFIG` for a named token that it does not have.
 */
export async function openTokenizer(given: string, named: NamedRoles = {}): Promise<Tokenizer> {
  if (given === 'byte') return bytes(named);
  const file = (await is(given, 'isDirectory')) ? path.join(given, TOKENIZER_JSON) : given;
  const pair =
    file === given ? await pairOf(given) : (await is(file, 'isFile')) ? undefined : await pairIn(given);
  if (pair) return ofPair(pair, named);
  if (file !== given && !(await is(file, 'isFile'))) throw await noTokenizer(given);
  try {
    const tokenizer = await JsonTokenizer.fromFile(file);
    return Object.keys(named).length === 0 ? tokenizer : await withRoles(tokenizer, file, named);
  } catch (error) {
    if (!(error instanceof TesseraeError) || nearestName(given, ['byte']) === undefined) throw error;
    throw new TesseraeError('ERR_DATA', `the tokenizer '${given}' does not exist: did you mean byte?`, {
      details: { path: given },
      cause: error,
    });
  }
}

function bytes(named: NamedRoles): Tokenizer {
  const [role] = Object.keys(named);
  if (role === undefined) return new ByteTokenizer();
  throw new TesseraeError(
    'ERR_CONFIG',
    `${role} has no meaning for the byte tokenizer, because a text may contain any byte: leave it out, or give a tokenizer.json`,
    { details: { path: role } },
  );
}

async function withRoles({ json }: JsonTokenizer, file: string, named: NamedRoles): Promise<Tokenizer> {
  return new JsonTokenizer(json, file, await readSide(json, file, named));
}

async function ofPair(pair: VocabularyFiles, named: NamedRoles = {}): Promise<Tokenizer> {
  const json = await tokenizerJsonOf(pair);
  return new JsonTokenizer(json, pair.vocabulary, await readSide(json, pair.vocabulary, named));
}

async function noTokenizer(folder: string): Promise<TesseraeError> {
  const other = await otherTokenizerIn(folder);
  return new TesseraeError(
    'ERR_DATA',
    `the folder '${folder}' has neither a ${TOKENIZER_JSON} nor a vocab.json and merges.txt` +
      (other === undefined
        ? ''
        : `, but '${other}': make a ${TOKENIZER_JSON} of it with Python: from transformers import AutoTokenizer as T; ` +
          "T.from_pretrained('FROM').save_pretrained('TO')"),
    { details: { path: folder } },
  );
}

const is = (name: string, kind: 'isFile' | 'isDirectory'): Promise<boolean> =>
  stat(name).then(
    (found) => found[kind](),
    () => false,
  );

/** What is known about the tokenizer that made a file. */
export interface TokenizerIdentity {
  readonly name: string;
  /** SHA-256 of its tokenizer.json, in hexadecimal, where it has one. */
  readonly sha256?: string | undefined;
}

/** @throws TesseraeError `ERR_DATA` when they differ. */
export function checkSameTokenizer(tokenizer: Tokenizer, wanted: TokenizerIdentity, where: string): void {
  const { name, sha256 } = identityOf(tokenizer);
  if (name === wanted.name && sha256 === wanted.sha256) return;
  const told = (one: TokenizerIdentity): string =>
    one.sha256 === undefined ? one.name : `${one.name} with SHA-256 ${one.sha256.slice(0, 12)}…`;
  throw new TesseraeError(
    'ERR_DATA',
    `${where} was made with another tokenizer (${told(wanted)}), not the given one (${told({ name, sha256 })}): ` +
      'give the tokenizer it was made with',
    { details: { path: where } },
  );
}

/** The description of the tokenizer in a file that it makes. */
export const identityOf = (tokenizer: Tokenizer): TokenizerIdentity => ({
  name: tokenizer.name,
  ...(tokenizer instanceof JsonTokenizer ? { sha256: tokenizer.sha256 } : {}),
});
