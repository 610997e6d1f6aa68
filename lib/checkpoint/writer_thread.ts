import { TesseraeError } from '../errors';
import { ThreadClient } from '../threads/client';
import { transfer } from '../threads/transfer';
import type { UnwrittenCheckpoint } from './checkpoint_writer';
import type { CheckpointWorker } from './writer_worker';

let thread: ThreadClient<CheckpointWorker> | undefined;

/**
 * Like writeCheckpoint, in its own thread. The JavaScript thread only passes the values of tensors, each while the previous
 * one goes to the disk.
 */
export async function writeInThread({ files, ...checkpoint }: UnwrittenCheckpoint): Promise<void> {
  if (!thread || thread.ended)
    thread = new ThreadClient('checkpoint/writer_worker.js', {
      thread: 'the thread that writes checkpoints',
      owner: 'the thread that writes checkpoints',
    });
  const outlines = files.map(
    ([name, contents]) =>
      [
        name,
        typeof contents === 'string'
          ? contents
          : contents.map((tensor) => ({ name: tensor.name, shape: tensor.shape })),
      ] as const,
  );
  await thread.remote.write({ ...checkpoint, files: outlines }, async (file, tensor) => {
    const contents = files[file]?.[1];
    const source = typeof contents === 'object' ? contents[tensor] : undefined;
    if (!source) throw new TesseraeError('ERR_INTERNAL', 'a tensor was asked for that is not there');
    const values = await source.read();
    return transfer(values, [values]);
  });
}
