/** Turns segments of inputs into token ids. Runs in a worker thread. */
import { TesseraeError } from '../../errors';
import type { Tokenizer, TokenRoles } from '../tokenizer';
import type { TokenDtype } from '../tokens/format';
import { readSegment } from './segment_reader';
import type { Segment } from './segments';

/** What a worker is asked: first to take a tokenizer (the text of a tokenizer.json, or bytes), then segments. */
export type PrepareRequest =
  | { readonly kind: 'tokenizer'; readonly json: string | undefined; readonly roles?: TokenRoles }
  | {
      readonly kind: 'segment';
      readonly segment: Segment;
      readonly textKey: string;
      readonly dtype: TokenDtype;
    };

export interface EncodedSegment {
  /** Ids as the file has them. */
  readonly tokens: Uint16Array | Uint32Array;
  /** Documents that end in the segment. */
  readonly documents: number;
}

/**
 * The tokens of a segment, with the tokenizer's end-of-text token, where it has one, after each document.
 *
 * @throws TesseraeError as readSegment and the tokenizer do.
 */
export async function encodeSegment(
  { segment, textKey, dtype }: Extract<PrepareRequest, { kind: 'segment' }>,
  tokenizer: Tokenizer,
): Promise<EncodedSegment> {
  const parts: Int32Array[] = [];
  const end = tokenizer.endOfTextToken;
  let documents = 0;
  for (const { text, ends } of readSegment(segment, textKey)) {
    parts.push(await encoded(text, tokenizer, segment));
    if (!ends) continue;
    documents++;
    if (end !== undefined) parts.push(Int32Array.of(end));
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

async function encoded(text: string, tokenizer: Tokenizer, { path, from, to }: Segment): Promise<Int32Array> {
  try {
    return await tokenizer.encode(text);
  } catch (cause) {
    if (!(cause instanceof TesseraeError)) throw cause;
    throw new TesseraeError(
      cause.code,
      `the input '${path}', between offsets ${from} and ${to}: ${cause.message}`,
      {
        details: { path, from, to },
        cause,
      },
    );
  }
}
