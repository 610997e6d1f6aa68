/** The worker's end of a WorkerClient. */
import { parentPort } from 'node:worker_threads';
import { exhaustedError, TesseraeError } from '../errors';
import type { WorkerReply } from './worker_messages';

/** Milliseconds between progress reports: displays refresh at most ten times a second. */
const REPORT_EVERY = 100;

/** Reports how far a long answer is. */
export type Report = (done: number, total: number) => void;

/**
 * Answers the requests of a WorkerClient, each as it comes.
 *
 * @param transfer - buffers of a result that move to the client rather than being copied.
 */
export function serve<Request, Result>(
  answer: (request: Request, report: Report) => Result | Promise<Result>,
  transfer: (result: Result) => ArrayBufferLike[],
): void {
  const send = (reply: WorkerReply, moved: ArrayBufferLike[] = []): void =>
    parentPort?.postMessage(reply, moved as ArrayBuffer[]);
  parentPort?.on('message', ({ id, request }: { id: number; request: Request }) => {
    let reported = 0;
    const report: Report = (done, total) => {
      if (Date.now() - reported < REPORT_EVERY && done < total) return;
      reported = Date.now();
      send({ id, progress: { done, total } });
    };
    void (async () => answer(request, report))().then(
      (result) => send({ id, result }, transfer(result)),
      (error: unknown) => send({ id, error: failure(error) }),
    );
  });
}

function failure(error: unknown): NonNullable<WorkerReply['error']> {
  if (error instanceof TesseraeError)
    return { code: error.code, message: error.message, details: error.details };
  const exhausted = exhaustedError('the data worker failed', error);
  if (exhausted) return { code: exhausted.code, message: exhausted.message };
  if (error instanceof RangeError)
    return { code: 'ERR_OUT_OF_MEMORY', message: `the text does not fit in memory: ${error.message}` };
  return { code: 'ERR_INTERNAL', message: `the data worker failed: ${String(error)}` };
}
