/** The worker thread that reads texts and token files and draws batches; `worker_client.ts` is its other end. */
import { TesseraeError } from '../errors';
import type { Crops } from './rows';
import { TextSource } from './text_source';
import { TokenSource } from './tokens/token_source';
import type { WorkerRequest } from './worker_messages';
import { serve, type Report } from './worker_server';

let source: TextSource | TokenSource | undefined;

async function answer(request: WorkerRequest, report: Report): Promise<unknown> {
  if (request.kind === 'open') {
    const text = await TextSource.open(request.options);
    source = text;
    return text.sizes;
  }
  if (request.kind === 'openTokens') {
    const tokens = await TokenSource.open(request.options, report);
    source = tokens;
    return tokens.opened;
  }
  if (!source) throw new TesseraeError('ERR_INTERNAL', 'the data worker was asked for rows before a text');
  return request.kind === 'crops'
    ? source.crops(request.split, request.request)
    : source.windows(request.split, request.index, request.rows, request.batches);
}

serve(answer, (result) => {
  const { tokens, targets } = (result ?? {}) as Partial<Crops>;
  return tokens && targets ? [tokens.buffer, targets.buffer] : [];
});
