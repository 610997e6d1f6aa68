import { Worker } from 'node:worker_threads';
import { WorkerClient } from '../../../lib/data/worker_client';
import type { PrepareRequest } from '../../../lib/data/prepare/encode';

describe('WorkerClient', () => {
  it('keeps the process alive until a closed thread has ended, also when an answer was on its way', async () => {
    const messages: ((reply: unknown) => void)[] = [];
    const on = jest.spyOn(Worker.prototype, 'on').mockImplementation(function (
      this: Worker,
      event: string | symbol,
      listener: (value: never) => void,
    ) {
      if (event === 'message') messages.push(listener as (reply: unknown) => void);
      return this;
    });
    const client = new WorkerClient<PrepareRequest>('prepare_worker');
    on.mockRestore();
    const answer = client.call({ kind: 'tokenizer', source: undefined });
    const unref = jest.spyOn(Worker.prototype, 'unref');
    const closed = client.close();
    await expect(answer).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    messages[0]?.({ id: 0 });
    expect(messages).toHaveLength(1);
    expect(unref).not.toHaveBeenCalled();
    await closed;
    unref.mockRestore();
  });
});
