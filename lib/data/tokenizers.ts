import { TesseraeError } from '../errors';
import { nearestName } from '../models/validation';
import { ByteTokenizer } from './byte_tokenizer';
import { JsonTokenizer, TOKENIZER_JSON } from './json_tokenizer';
import type { Tokenizer } from './tokenizer';

/** Names of the tokenizers that checkpoints and token files may ask for. */
export const TOKENIZER_NAMES = ['byte', TOKENIZER_JSON] as const;

/**
 * The tokenizer of that name, or undefined.
 *
 * @param file - where the tokenizer.json is, which is read for the one of that name.
 * @throws TesseraeError `ERR_DATA` when that file can't be read or used.
 */
export async function tokenizerNamed(name: string, file: string): Promise<Tokenizer | undefined> {
  if (name === TOKENIZER_JSON) return JsonTokenizer.fromFile(file);
  return name === 'byte' ? new ByteTokenizer() : undefined;
}

/**
 * The tokenizer that a person names: `byte`, or the path of a tokenizer.json.
 *
 * @throws TesseraeError `ERR_DATA` when that file can't be read or used.
 */
export async function openTokenizer(given: string): Promise<Tokenizer> {
  if (given === 'byte') return new ByteTokenizer();
  try {
    return await JsonTokenizer.fromFile(given);
  } catch (error) {
    if (!(error instanceof TesseraeError) || nearestName(given, ['byte']) === undefined) throw error;
    throw new TesseraeError('ERR_DATA', `there is no tokenizer '${given}': did you mean byte?`, {
      details: { path: given },
      cause: error,
    });
  }
}

/** What is known of the tokenizer that made a file. */
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
    `${where} was made with another tokenizer (${told(wanted)}) than the one that is there (${told({ name, sha256 })}): ` +
      'give the one that it was made with',
    { details: { path: where } },
  );
}

/** What a file that the tokenizer makes says of it. */
export const identityOf = (tokenizer: Tokenizer): TokenizerIdentity => ({
  name: tokenizer.name,
  ...(tokenizer instanceof JsonTokenizer ? { sha256: tokenizer.sha256 } : {}),
});
