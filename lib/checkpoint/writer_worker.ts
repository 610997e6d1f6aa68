/** The thread that writes and hashes checkpoints, for `writer_thread.ts`. */
import { serve } from '../threads/server';
import { writeCheckpoint, type UnwrittenCheckpoint } from './checkpoint_writer';
import type { TensorSource } from './safetensors';

/** A checkpoint whose tensors have only names and shapes; their values are read when it is their turn. */
export type CheckpointOutline = Omit<UnwrittenCheckpoint, 'files'> & {
  readonly files: readonly (readonly [
    name: string,
    contents: string | readonly Omit<TensorSource, 'read'>[],
  ])[];
};

const methods = {
  /** @param read - gives the values of a tensor, by the places of its file and of the tensor in it. */
  async write(
    { files, ...checkpoint }: CheckpointOutline,
    read: (file: number, tensor: number) => Promise<Float32Array>,
  ): Promise<void> {
    await writeCheckpoint({
      ...checkpoint,
      files: files.map(([name, contents], file) => [
        name,
        typeof contents === 'string'
          ? contents
          : contents.map((tensor, index) => ({ ...tensor, read: () => read(file, index) })),
      ]),
    });
  },
};

/** The methods of the thread. */
export type CheckpointWorker = typeof methods;

serve(methods, 'a checkpoint was not written');
