/** The thread that writes and hashes checkpoints; `writer_thread.ts` is its other end. */
import { parentPort } from 'node:worker_threads';
import { exhaustedError, TesseraeError } from '../errors';
import { writeCheckpoint } from './checkpoint_writer';
import type { CheckpointMessage, ErrorMessage, WriterReply, WriterRequest } from './writer_messages';

/** Who waits for the values of a tensor, by checkpoint: one at a time. */
const waiting = new Map<
  number,
  { resolve: (values: Float32Array) => void; reject: (error: Error) => void }
>();

const send = (reply: WriterReply): void => parentPort?.postMessage(reply);

async function write(id: number, { files, ...checkpoint }: CheckpointMessage): Promise<void> {
  const ask = (file: number, tensor: number): Promise<Float32Array> =>
    new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      send({ kind: 'read', id, file, tensor });
    });
  await writeCheckpoint({
    ...checkpoint,
    files: files.map(([name, contents], file) => [
      name,
      typeof contents === 'string'
        ? contents
        : contents.map((tensor, index) => ({ ...tensor, read: () => ask(file, index) })),
    ]),
  });
}

function failure(error: unknown): ErrorMessage {
  const coded =
    error instanceof TesseraeError ? error : exhaustedError('a checkpoint was not written', error);
  if (coded) {
    const { code, message, details } = coded;
    return { code, message, details };
  }
  return { code: 'ERR_INTERNAL', message: `a checkpoint was not written: ${String(error)}`, details: {} };
}

parentPort?.on('message', (request: WriterRequest) => {
  const { id } = request;
  if (request.kind === 'write')
    void write(id, request.checkpoint).then(
      () => send({ kind: 'done', id }),
      (error: unknown) => send({ kind: 'done', id, error: failure(error) }),
    );
  else if (request.kind === 'values') waiting.get(id)?.resolve(request.values);
  else waiting.get(id)?.reject(new Error('its tensors cannot be read'));
});
