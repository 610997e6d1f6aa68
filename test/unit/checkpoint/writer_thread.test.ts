import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { UnwrittenCheckpoint } from '../../../lib/checkpoint/checkpoint_writer';
import { writeInThread } from '../../../lib/checkpoint/writer_thread';
import { failureOf } from '../support/errors';
import { smallCheckpoint, valueOf } from '../support/small_checkpoint';

let run: string;
beforeEach(async () => {
  run = await mkdtemp(path.join(tmpdir(), 'tesserae-writer-'));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await rm(run, { recursive: true });
});

/** The checkpoint of a step; calls `read` before each of its tensors is read. */
function withReads(step: number, read: () => unknown): UnwrittenCheckpoint {
  const checkpoint = smallCheckpoint(run, step, step);
  return {
    ...checkpoint,
    files: checkpoint.files.map(([name, contents]) => [
      name,
      typeof contents === 'string'
        ? contents
        : contents.map((tensor) => ({
            ...tensor,
            read: async () => {
              await read();
              return tensor.read();
            },
          })),
    ]),
  };
}

it('requests tensors one by one, and removes surplus checkpoints', async () => {
  let underWay = 0;
  let reads = 0;
  const read = async (): Promise<void> => {
    expect(++underWay).toBe(1);
    await sleep(5);
    underWay--;
    reads++;
  };
  for (const step of [1, 2, 3]) await writeInThread(withReads(step, read));
  expect(reads).toBe(9);
  expect(await valueOf(run, 3)).toBe(3);
  expect((await readdir(run)).sort()).toEqual(['checkpoint-2', 'checkpoint-3']);
});

it('fails with the error of reading a tensor, and leaves nothing behind', async () => {
  const thrown = new Error('the device is gone');
  const written = writeInThread(withReads(1, () => Promise.reject(thrown)));
  await expect(written).rejects.toBe(thrown);
  expect(await readdir(run)).toEqual([]);
});

it('reports why a checkpoint could not be written', async () => {
  const { message } = await failureOf('ERR_CHECKPOINT', () =>
    writeInThread({ ...smallCheckpoint(run, 1, 1), directory: '/proc/checkpoint-1' }),
  );
  expect(message).toMatch(/^'\/proc\/checkpoint-1' can't be written: ENOENT/);
});

it('starts another thread when the previous one has died', async () => {
  const post = jest.spyOn(Worker.prototype, 'postMessage');
  await writeInThread(smallCheckpoint(run, 1, 1));
  const [thread] = post.mock.contexts as Worker[];
  const { message } = await failureOf('ERR_INTERNAL', () =>
    writeInThread(withReads(2, () => thread?.terminate())),
  );
  expect(message).toBe('the thread that writes checkpoints stopped');
  await writeInThread(smallCheckpoint(run, 3, 3));
  expect(await valueOf(run, 3)).toBe(3);
});
