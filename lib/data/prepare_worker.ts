/** A worker thread that tokenises segments of inputs; `prepare/prepare.ts` asks it. */
import { TesseraeError } from '../errors';
import { ByteTokenizer } from './byte_tokenizer';
import { JsonTokenizer } from './json_tokenizer';
import { encodeSegment, type EncodedSegment, type PrepareRequest } from './prepare/encode';
import type { Tokenizer } from './tokenizer';
import { serve } from './worker_server';

let tokenizer: Tokenizer | undefined;

async function answer(request: PrepareRequest): Promise<EncodedSegment | undefined> {
  if (request.kind === 'tokenizer') {
    const { json, roles } = request;
    tokenizer = json === undefined ? new ByteTokenizer() : new JsonTokenizer(json, undefined, { roles });
    return undefined;
  }
  if (!tokenizer) throw new TesseraeError('ERR_INTERNAL', 'a worker was given a text before a tokenizer');
  return encodeSegment(request, tokenizer);
}

serve(answer, (result) => (result ? [result.tokens.buffer] : []));
