/** A worker thread that tokenises segments of inputs; `prepare/prepare.ts` asks it. */
import { TesseraeError } from '../errors';
import { Encoder } from './json_tokenizer/encoder';
import { encodeSegment, type EncodedSegment, type PrepareRequest } from './prepare/encode';
import { serve } from './worker_server';

let encoder: Encoder | undefined;
let isReady = false;

async function answer(request: PrepareRequest): Promise<EncodedSegment | undefined> {
  if (request.kind === 'tokenizer') {
    encoder = request.source && new Encoder(request.source);
    isReady = true;
    return undefined;
  }
  if (!isReady) throw new TesseraeError('ERR_INTERNAL', 'a worker was given a text before a tokenizer');
  return encodeSegment(request, encoder);
}

serve(answer, (result) => (result ? [result.tokens.buffer] : []));
