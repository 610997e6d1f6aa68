import type { Worker } from 'node:worker_threads';
import { startWorker } from '../data/start_worker';
import { exhaustedError, TesseraeError } from '../errors';
import type { UnwrittenCheckpoint } from './checkpoint_writer';
import type { WriterReply, WriterRequest } from './writer_messages';

interface UnderWay {
  readonly checkpoint: UnwrittenCheckpoint;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** Why a tensor could not be read. */
  unreadable?: unknown;
}

let thread: Worker | undefined;
let lastId = 0;
const underWay = new Map<number, UnderWay>();

/**
 * As writeCheckpoint, in a thread of its own: the JavaScript thread only hands over the values of tensors, one when the
 * one before is on its way to the disk.
 */
export async function writeInThread(checkpoint: UnwrittenCheckpoint): Promise<void> {
  const worker = (thread ??= startThread());
  const id = ++lastId;
  const { directory, names, rotation } = checkpoint;
  const files = checkpoint.files.map(
    ([name, contents]) =>
      [
        name,
        typeof contents === 'string'
          ? contents
          : contents.map((one) => ({ name: one.name, shape: one.shape })),
      ] as const,
  );
  worker.ref(); // the process lives until it is written
  return new Promise((resolve, reject) => {
    underWay.set(id, { checkpoint, resolve, reject });
    send(worker, { kind: 'write', id, checkpoint: { directory, names, files, rotation } });
  });
}

const send = (worker: Worker, request: WriterRequest, transfer: ArrayBuffer[] = []): void =>
  worker.postMessage(request, transfer);

function startThread(): Worker {
  const worker = startWorker('checkpoint/writer_worker');
  worker.unref();
  const ended = (cause?: Error): void => {
    if (thread === worker) thread = undefined;
    const why = cause ? `: ${cause.message}` : '';
    for (const { reject } of underWay.values())
      reject(
        exhaustedError('the thread that writes checkpoints stopped', cause) ??
          new TesseraeError('ERR_INTERNAL', `the thread that writes checkpoints stopped${why}`, { cause }),
      );
    underWay.clear();
  };
  worker.on('message', (reply: WriterReply) => void answer(worker, reply));
  worker.on('error', ended);
  worker.on('exit', () => ended());
  return worker;
}

async function answer(worker: Worker, reply: WriterReply): Promise<void> {
  const { id } = reply;
  const one = underWay.get(id);
  if (!one) return;
  if (reply.kind === 'read') {
    try {
      const contents = one.checkpoint.files[reply.file]?.[1];
      const source = typeof contents === 'object' ? contents[reply.tensor] : undefined;
      if (!source) throw new TesseraeError('ERR_INTERNAL', 'a tensor was asked for that is not there');
      const values = await source.read();
      send(worker, { kind: 'values', id, values }, [values.buffer as ArrayBuffer]);
    } catch (error) {
      one.unreadable = error;
      send(worker, { kind: 'unreadable', id });
    }
    return;
  }
  underWay.delete(id);
  if (underWay.size === 0) worker.unref();
  if (one.unreadable !== undefined) one.reject(one.unreadable);
  else if (reply.error) {
    const { code, message, details } = reply.error;
    one.reject(new TesseraeError(code, message, { details: { ...details } }));
  } else one.resolve();
}
