/** The layouts of token files, and of the JSON file that describes one. */
import path from 'node:path';
import { z } from 'zod';
import { exhaustedError, TesseraeError } from '../../errors';
import { parseJson } from '../../files/json';
import { whyNotJson } from '../../files/recognise_file';
import { readTextFile } from '../../files/regular_file';

/** nanoGPT: only token ids. llm.c: a header of 256 int32, then token ids. */
export const TOKEN_FORMATS = ['nanogpt', 'llmc'] as const;
export type TokenFormat = (typeof TOKEN_FORMATS)[number];

/** How a token id is stored, little-endian; uint16 holds vocabularies of up to 65,536 tokens. */
export type TokenDtype = 'uint16' | 'uint32';
export const TOKEN_DTYPES = ['uint16', 'uint32'] as const satisfies TokenDtype[];

export const BYTES_OF_DTYPE: Readonly<Record<TokenDtype, number>> = { uint16: 2, uint32: 4 };

/** Models read ids as int32. */
export const MOST_VOCABULARY = 2 ** 31 - 1;

/** Bytes of llm.c's header. */
export const HEADER_BYTES = 256 * 4;
/** llm.c's header counts tokens in an int32. */
export const MOST_LLMC_TOKENS = 2 ** 31 - 1;

/** llm.c's data/gpt2 (uint16) and data/llama3 (uint32): dev/data/data_common.py, `write_datafile`. */
const LLMC_HEADERS: Readonly<Record<TokenDtype, readonly [magic: number, version: number]>> = {
  uint16: [20240520, 1],
  uint32: [20240801, 7],
};

/** The header of an llm.c file. */
export function llmcHeader(dtype: TokenDtype, tokens: number): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  [...LLMC_HEADERS[dtype], tokens].forEach((value, index) => header.writeInt32LE(value, index * 4));
  return header;
}

/**
 * What llm.c's header says, or undefined for a file that does not begin with its magic number.
 *
 * @param start - the first 12 bytes of a file, or all of a shorter one.
 * @param refuse - throws an error about the header.
 */
export function readLlmcHeader(
  start: Buffer,
  refuse: (why: string) => never,
): { readonly dtype: TokenDtype; readonly tokens: number } | undefined {
  if (start.length < 12) return undefined;
  const [magic, version, tokens] = [0, 4, 8].map((at) => start.readInt32LE(at)) as [number, number, number];
  const dtype = TOKEN_DTYPES.find((one) => LLMC_HEADERS[one][0] === magic);
  if (!dtype) return undefined;
  if (version !== LLMC_HEADERS[dtype][1])
    refuse(
      `has version ${version} of llm.c's layout at offset 4, but magic ${magic} needs version ` +
        `${LLMC_HEADERS[dtype][1]}: make the file again`,
    );
  if (tokens < 0) refuse(`has a count of ${tokens} tokens at offset 8: make the file again`);
  return { dtype, tokens };
}

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const descriptionSchema = z.strictObject({
  version: z.literal(1),
  format: z.enum(TOKEN_FORMATS),
  dtype: z.enum(TOKEN_DTYPES),
  tokenizer: z.strictObject({ name: z.string().min(1), sha256: sha256.optional() }).optional(),
  vocabSize: z.int().min(1).max(MOST_VOCABULARY),
  tokens: z.int().min(0),
  documents: z.int().min(0).optional(),
  endOfTextToken: z.int().min(0).max(MOST_VOCABULARY).optional(),
  sha256,
  inputs: z.array(z.string()).optional(),
});

/**
 * What `<name>.json` says of the token file `<name>.bin`: its layout; the tokenizer that made it; `vocabSize`, below which
 * all ids are; counts of tokens and documents; the id that ends each document, if one does; the SHA-256 of the file; and the
 * texts that it was made from, relative to its folder.
 */
export type TokenDescription = z.output<typeof descriptionSchema>;

/** `<name>.json` for `<name>.bin`. */
export function descriptionPath(file: string): string {
  const { dir, name } = path.parse(file);
  return path.join(dir, `${name}.json`);
}

/** A description takes less than a kilobyte, and a little more for each input. */
const MOST_BYTES = 2 ** 26;

/**
 * Reads the description next to a token file; undefined if there is none.
 *
 * @throws TesseraeError `ERR_DATA` if it can't be read or is not a description.
 */
export async function readDescription(file: string): Promise<TokenDescription | undefined> {
  const beside = descriptionPath(file);
  try {
    return descriptionSchema.parse(parseJson(await readTextFile(beside, MOST_BYTES)));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : await whyNotJson(beside, cause);
    const exhausted = exhaustedError(`'${beside}' can't be read`, cause);
    if (exhausted) throw exhausted;
    throw new TesseraeError(
      'ERR_DATA',
      `'${beside}' does not describe the token file next to it: ${why}. Make both again with tesserae prepare, or move the ` +
        'JSON file away and give dtype and vocabSize',
      { details: { path: beside }, cause },
    );
  }
}

/** The text of a description file. */
export const descriptionText = (description: TokenDescription): string =>
  `${JSON.stringify(description, null, 2)}\n`;
