/** The worker thread that reads texts and draws batches; `worker_client.ts` is its other end. */
import { TesseraeError } from '../errors';
import { TextSource, type Crops } from './text_source';
import type { WorkerRequest } from './worker_messages';
import { serve } from './worker_server';

let source: TextSource | undefined;

async function answer(request: WorkerRequest): Promise<unknown> {
  if (request.kind === 'open') {
    source = await TextSource.open(request.options);
    return source.sizes;
  }
  if (!source) throw new TesseraeError('ERR_INTERNAL', 'the data worker was asked for rows before a text');
  return request.kind === 'crops'
    ? source.crops(request.split, request.request)
    : source.windows(request.split, request.index, request.rows, request.batches);
}

serve(answer, (result) => {
  const { tokens, targets } = (result ?? {}) as Partial<Crops>;
  return tokens && targets ? [tokens.buffer as ArrayBuffer, targets.buffer as ArrayBuffer] : [];
});
