/** A worker thread's end of `worker_client.ts`. */
import { parentPort } from 'node:worker_threads';
import { TesseraeError } from '../errors';
import type { WorkerReply } from './worker_messages';

/**
 * Answers what the client asks, in a worker thread.
 *
 * @param answer - may be called again before it has answered.
 * @param buffersOf - memory of a result that is handed over instead of copied.
 */
export function serve<Request>(
  answer: (request: Request) => Promise<unknown>,
  buffersOf: (result: unknown) => ArrayBuffer[],
): void {
  parentPort?.on('message', ({ id, request }: { id: number; request: Request }) => {
    void answer(request).then(
      (result) => parentPort?.postMessage({ id, result }, buffersOf(result)),
      (error: unknown) => parentPort?.postMessage({ id, error: failure(error) }),
    );
  });
}

function failure(error: unknown): WorkerReply['error'] {
  if (error instanceof TesseraeError)
    return { code: error.code, message: error.message, details: error.details };
  if (error instanceof RangeError)
    return { code: 'ERR_OUT_OF_MEMORY', message: `the data does not fit in memory: ${error.message}` };
  return { code: 'ERR_INTERNAL', message: `the data worker failed: ${String(error)}` };
}
