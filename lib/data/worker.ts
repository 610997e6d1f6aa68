/** The worker thread that reads texts and draws batches; `worker_client.ts` is its other end. */
import { parentPort } from 'node:worker_threads';
import { TesseraeError } from '../errors';
import { TextSource, type Crops } from './text_source';
import type { WorkerReply, WorkerRequest } from './worker_messages';

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

function failure(error: unknown): WorkerReply['error'] {
  if (error instanceof TesseraeError)
    return { code: error.code, message: error.message, details: error.details };
  if (error instanceof RangeError)
    return { code: 'ERR_OUT_OF_MEMORY', message: `the text does not fit in memory: ${error.message}` };
  return { code: 'ERR_INTERNAL', message: `the data worker failed: ${String(error)}` };
}

parentPort?.on('message', ({ id, request }: { id: number; request: WorkerRequest }) => {
  void answer(request).then(
    (result) => {
      const crops = request.kind === 'open' ? undefined : (result as Crops | undefined);
      const transfer = crops ? [crops.tokens.buffer as ArrayBuffer, crops.targets.buffer as ArrayBuffer] : [];
      parentPort?.postMessage({ id, result }, transfer);
    },
    (error: unknown) => parentPort?.postMessage({ id, error: failure(error) }),
  );
});
