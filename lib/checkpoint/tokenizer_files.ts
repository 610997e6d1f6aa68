import { TOKENIZER_JSON } from '../data/json_tokenizer';
import { namingRoles, type JsonObject } from '../data/token_roles';
import type { Tokenizer } from '../data/tokenizer';
import { GENERATION_CONFIG, SIDE_FILES, TOKENIZER_CONFIG } from '../data/tokenizer_folder';
import { parseJson } from '../files/json';
import type { TokenSettings } from '../models/family';
import type { Companions } from './companions';

/** All that `tokenizerFiles` and `generationFile` give. */
export const TOKENIZER_FILES: readonly string[] = [TOKENIZER_JSON, ...SIDE_FILES, GENERATION_CONFIG];

type NamedFile = readonly [name: string, text: string];

const textOf = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** A tokenizer as it was read: its tokenizer.json and what belongs to it. One that is built in has none. */
export const tokenizerFilesAsRead = ({ json, files = {} }: Tokenizer): readonly NamedFile[] =>
  json === undefined ? [] : [[TOKENIZER_JSON, json], ...Object.entries(files)];

/**
 * The files of a tokenizer for transformers' `AutoTokenizer`: its tokenizer.json and the roles of its tokens. Its other files
 * stay unchanged.
 */
export function tokenizerFiles(
  tokenizer: Tokenizer,
  { nPositions }: Pick<TokenSettings, 'nPositions'>,
): readonly NamedFile[] {
  const before = tokenizer.files?.[TOKENIZER_CONFIG];
  const config = before === undefined ? undefined : (parseJson(before, { rounds: true }) as JsonObject);
  const defaults = { tokenizer_class: 'PreTrainedTokenizerFast', clean_up_tokenization_spaces: false };
  const named = namingRoles(config ?? defaults, tokenizer, (id) => tokenizer.decode([id]));
  const whole = { bos_token: null, eos_token: null, model_max_length: nPositions, ...named };
  const isAsBefore = config !== undefined && Object.keys(whole).length === Object.keys(config).length;
  const text = isAsBefore && before !== undefined ? before : textOf(whole);
  return Object.entries({ ...Object.fromEntries(tokenizerFilesAsRead(tokenizer)), [TOKENIZER_CONFIG]: text });
}

/**
 * What transformers' `generate` reads: which tokens begin and end a text, and all that the model came with and still holds.
 * Ids that the model does not have are left out, and the end of a text is that of the tokenizer.
 */
export function generationFile(
  tokenizer: Tokenizer | undefined,
  { vocabSize, bosTokenId, eosTokenId }: Pick<TokenSettings, 'vocabSize' | 'bosTokenId' | 'eosTokenId'>,
  { generation = {} }: Companions,
): NamedFile {
  const isWhole = (ids: unknown): boolean =>
    [ids].flat().every((id) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize);
  const kept = Object.fromEntries(
    Object.entries(generation).filter(
      ([key, ids]) => !/_token_id$/.test(key) || ids === null || isWhole(ids),
    ),
  );
  const end = tokenizer?.endOfTextToken;
  const ends = [kept['eos_token_id'] ?? []].flat();
  const endHolds = ends.length > 0 && (end === undefined || ends.includes(end));
  const start = tokenizer?.json === undefined ? undefined : tokenizer.startToken;
  const pad = kept['pad_token_id'] ?? tokenizer?.padToken;
  return [
    GENERATION_CONFIG,
    textOf({
      ...kept,
      bos_token_id: kept['bos_token_id'] ?? start ?? bosTokenId,
      eos_token_id: endHolds ? kept['eos_token_id'] : (end ?? eosTokenId),
      ...(pad === undefined ? {} : { pad_token_id: pad }),
    }),
  ];
}
