import type { Worker } from 'node:worker_threads';
import { exhaustedError, TesseraeError } from '../errors';
import { startWorker } from './start_worker';
import type { WorkerReply, WorkerRequest } from './worker_messages';

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Asks a worker thread and keeps the process alive only while an answer is due. */
export class WorkerClient<Request = WorkerRequest> {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 0;
  private ended: TesseraeError | undefined;

  /** @param name - the thread's program, from lib/data. */
  constructor(name = 'worker') {
    this.worker = startWorker(`data/${name}`);
    this.worker.unref();
    this.worker.on('message', (reply: WorkerReply) => this.settle(reply));
    this.worker.on('error', (cause) => this.end(stopped(cause)));
    this.worker.on('exit', () => this.end(new TesseraeError('ERR_INTERNAL', 'the data worker stopped')));
  }

  /** @param onProgress - told at most ten times a second how far the answer is, if it takes long. */
  call(request: Request, onProgress?: (done: number, total: number) => void): Promise<unknown> {
    if (this.ended) return Promise.reject(this.ended);
    const id = this.nextId++;
    this.worker.ref();
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onProgress });
      this.worker.postMessage({ id, request });
    });
  }

  /** Ends the thread; what was asked for and all later calls reject with ERR_DISPOSED. */
  async close(): Promise<void> {
    this.end(new TesseraeError('ERR_DISPOSED', 'the data was closed'));
    await this.worker.terminate();
  }

  private settle({ id, progress, result, error }: WorkerReply): void {
    const waiting = this.waiting.get(id);
    // It was on its way when the thread was closed. To unref now would let the process end before the thread has.
    if (!waiting) return;
    if (progress) {
      waiting.onProgress?.(progress.done, progress.total);
      return;
    }
    this.waiting.delete(id);
    if (this.waiting.size === 0) this.worker.unref();
    if (error)
      waiting.reject(new TesseraeError(error.code, error.message, { details: { ...error.details } }));
    else waiting.resolve(result);
  }

  private end(reason: TesseraeError): void {
    this.ended ??= reason;
    for (const { reject } of this.waiting.values()) reject(this.ended);
    this.waiting.clear();
  }
}

function stopped(cause: Error): TesseraeError {
  return (
    exhaustedError('the data worker stopped', cause) ??
    new TesseraeError('ERR_INTERNAL', `the data worker stopped: ${cause.message}`, { cause })
  );
}
