/** Turns segments of inputs into token ids. Runs in a worker thread. */
import { TesseraeError } from '../../errors';
import { NoTokenError, type Encoder } from '../json_tokenizer/encoder';
import { ByteTokenizer } from '../byte_tokenizer';
import type { TokenDtype } from '../tokens/format';
import { lineOf, readSegment, type DocumentPart } from './segment_reader';
import { badText, type Segment } from './segments';

/** How segments are encoded. */
export interface EncodingOptions {
  /** The key of the text in JSON lines. */
  readonly textKey: string;
  readonly dtype: TokenDtype;
  /** Id after each document; undefined for none. */
  readonly endOfTextToken: number | undefined;
}

export interface EncodedSegment {
  /** Ids in the type of the file. */
  readonly tokens: Uint16Array | Uint32Array;
  /** Documents that end in the segment. */
  readonly documents: number;
}

/**
 * The tokens of a segment, with the end-of-text token, if there is one, after each document.
 *
 * @param encoder - of a tokenizer.json. Default: one token per byte.
 *
 * @throws TesseraeError as readSegment and the tokenizer do.
 */
export async function encodeSegment(
  segment: Segment,
  { textKey, dtype, endOfTextToken }: EncodingOptions,
  encoder: Encoder | undefined,
): Promise<EncodedSegment> {
  const parts: Int32Array[] = [];
  let documents = 0;
  const texts: DocumentPart[] = [];
  for await (const part of readSegment(segment, textKey, encoder)) texts.push(part);
  const encoded = encoder ? await inPlace(segment, texts, () => encoder.encode(texts)) : [];
  if (!encoder) for (const { text } of texts) encoded.push(new ByteTokenizer().encode(text));
  for (const [index, { ends }] of texts.entries()) {
    const ids = encoded[index];
    if (ids) parts.push(ids);
    if (!ends) continue;
    documents++;
    if (endOfTextToken !== undefined) parts.push(Int32Array.of(endOfTextToken));
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const tokens = dtype === 'uint16' ? new Uint16Array(length) : new Uint32Array(length);
  let at = 0;
  for (const part of parts) {
    tokens.set(part, at);
    at += part.length;
  }
  return { tokens, documents };
}

/** Adds the place in the file to errors about a text. */
async function inPlace<T>(
  segment: Segment,
  texts: readonly DocumentPart[],
  encode: () => Promise<T>,
): Promise<T> {
  try {
    return await encode();
  } catch (cause) {
    if (!(cause instanceof TesseraeError)) throw cause;
    const { path, from, to, kind } = segment;
    const { index, offset } = cause.details as { index?: number; offset?: number };
    const part = texts[index ?? -1];
    const why = cause instanceof NoTokenError ? cause.why : cause.message;
    if (!part || offset === undefined)
      throw new TesseraeError(cause.code, `the input '${path}', between offsets ${from} and ${to}: ${why}`, {
        details: { path, from, to },
        cause,
      });
    const inText = Buffer.byteLength(part.text.slice(0, offset));
    const at = kind === 'text' ? part.offset + inText : part.offset;
    throw badText({ path, offset: at, line: lineOf(segment, at) }, why);
  }
}
