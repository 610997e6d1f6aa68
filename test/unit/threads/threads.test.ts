import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { TesseraeError } from '../../../lib/errors';
import { ThreadClient } from '../../../lib/threads/client';
import type { FromThread } from '../../../lib/threads/messages';
import { throttled } from '../../../lib/threads/progress';
import { transfer } from '../../../lib/threads/transfer';
import { failureOf } from '../support/errors';

/** What program.cjs serves. */
interface Served {
  add(a: number, b: number): number;
  later(value: string, milliseconds: number): Promise<string>;
  fail(kind: 'coded' | 'exhausted' | 'uncloneable' | 'bug'): void;
  count(steps: number, report?: (done: number, total: number) => void): number;
  give(moved: boolean): { kept: Float32Array };
  keptLength(): number;
  lengthOf(array: Float32Array): number;
  sum(count: number, read: (index: number) => Promise<Float32Array>): number;
  recover(read: () => unknown): string;
  ignore(report: () => void): string;
  spin(): void;
  exit(): void;
  crash(code?: string): void;
}

const program = path.join(__dirname, 'program.cjs');
const names = { thread: 'the test thread', owner: 'the test' };

let client: ThreadClient<Served>;
beforeEach(() => {
  client = new ThreadClient(program, names);
});
afterEach(() => client.close());

it('calls methods, each as it comes', async () => {
  const { remote } = client;
  expect(await remote.add(1, 2)).toBe(3);
  const ended: string[] = [];
  const call = async (value: string, milliseconds: number): Promise<void> => {
    ended.push(await remote.later(value, milliseconds));
  };
  await Promise.all([call('slow', 60), call('quick', 1)]);
  expect(ended).toEqual(['quick', 'slow']);
});

it('can be awaited itself', async () => {
  expect(await Promise.resolve(client.remote)).toBe(client.remote);
});

it('refuses a missing program', () =>
  failureOf('ERR_INTERNAL', () => new ThreadClient('threads/none.js', names)));

describe('errors', () => {
  it('keep code, message and details', async () => {
    const { message, details } = await failureOf('ERR_DATA', () => client.remote.fail('coded'));
    expect(message).toBe('line 7 is wrong');
    expect(details).toEqual({ path: 'a.txt', line: 7 });
  });

  it('of the system have the code of what is used up', async () => {
    const { message } = await failureOf('ERR_DEVICE', () => client.remote.fail('exhausted'));
    expect(message).toMatch(/^the test thread failed \(EMFILE: open\): .*ulimit -n/);
  });

  it.each([
    ['bug', 'the test thread failed: Error: a bug'],
    ['uncloneable', /^the test thread failed: .*could not be cloned/],
  ] as const)('without a code are internal: %s', async (kind, message) => {
    expect((await failureOf('ERR_INTERNAL', () => client.remote.fail(kind))).message).toMatch(message);
    expect(await client.remote.add(1, 1)).toBe(2);
  });

  it("of arguments that can't be sent reject the call, and the thread continues", async () => {
    const argument = { array: () => undefined } as unknown as Float32Array;
    await expect(client.remote.lengthOf(argument)).rejects.toThrow(/could not be cloned/);
    expect(await client.remote.add(1, 1)).toBe(2);
  });
});

describe('progress', () => {
  it('is reported while the call runs, and at the end', async () => {
    const seen: [number, number][] = [];
    let ended = false;
    const call = client.remote.count(1000, (done, total) => {
      expect(ended).toBe(false);
      seen.push([done, total]);
    });
    expect(await call).toBe(1000);
    ended = true;
    expect(seen[0]).toEqual([1, 1000]);
    expect(seen.at(-1)).toEqual([1000, 1000]);
  });

  it('is reported at most ten times a second', () => {
    const now = jest.spyOn(performance, 'now');
    const seen: number[] = [];
    const report = throttled((done) => seen.push(done));
    for (let milliseconds = 0; milliseconds <= 1000; milliseconds++) {
      now.mockReturnValue(milliseconds);
      report(milliseconds, 1001);
    }
    report(1001, 1001);
    now.mockRestore();
    expect(seen).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1001]);
  });

  it('needs nobody who listens', async () => {
    expect(await client.remote.count(10)).toBe(10);
  });
});

describe('memory', () => {
  it('of results moves if the method says so, and is copied otherwise', async () => {
    expect((await client.remote.give(false)).kept).toHaveLength(4);
    expect(await client.remote.keptLength()).toBe(4);
    expect((await client.remote.give(true)).kept).toHaveLength(4);
    expect(await client.remote.keptLength()).toBe(0);
  });

  it('of arguments likewise', async () => {
    const array = new Float32Array(8);
    expect(await client.remote.lengthOf(array)).toBe(8);
    expect(array).toHaveLength(8);
    expect(await client.remote.lengthOf(transfer(array, [array]))).toBe(8);
    expect(array).toHaveLength(0);
  });
});

describe('functions among the arguments', () => {
  it('run in the caller, and what they return may move', async () => {
    const read: Float32Array[] = [];
    const sum = await client.remote.sum(3, async (index) => {
      const values = new Float32Array(2).fill(index);
      read.push(values);
      return transfer(values, [values]);
    });
    expect(sum).toBe(6);
    expect(read.map(({ length }) => length)).toEqual([0, 0, 0]);
  });

  it('of calls that run at once are not mixed up', async () => {
    const call = (value: number): Promise<number> =>
      client.remote.sum(4, async () => {
        await sleep(value);
        return Float32Array.of(value);
      });
    expect(await Promise.all([call(1), call(2), call(3)])).toEqual([4, 8, 12]);
  });

  it.each(['recover', 'ignore'] as const)(
    'that throw fail the call with what they threw, also where the method goes on: %s',
    async (method) => {
      const thrown = new RangeError('of the caller');
      const call = client.remote[method](() => {
        throw thrown;
      });
      await expect(call).rejects.toBe(thrown);
      expect(await client.remote.add(1, 1)).toBe(2);
    },
  );
});

describe('close', () => {
  it('ends a thread in the middle of a call', async () => {
    const call = client.remote.spin();
    await sleep(50);
    const closed = client.close();
    expect((await failureOf('ERR_DISPOSED', () => call)).message).toBe('the test was closed');
    await closed;
    expect(client.ended).toBe(true);
    await failureOf('ERR_DISPOSED', () => client.remote.add(1, 2));
    await client.close();
  });

  it('ends a thread that waits for a function of the caller', async () => {
    let answer = (): void => undefined;
    const asked = new Promise<void>((resolve) => (answer = resolve));
    const call = client.remote.sum(1, async () => {
      answer();
      await sleep(20);
      return new Float32Array();
    });
    await asked;
    const closed = client.close();
    await failureOf('ERR_DISPOSED', () => call);
    await closed;
    await sleep(30);
  });

  it('keeps the process alive until the thread has ended, also when an answer was on its way', async () => {
    const messages: ((message: FromThread) => void)[] = [];
    const on = jest.spyOn(Worker.prototype, 'on').mockImplementation(function (
      this: Worker,
      event: string | symbol,
      listener: (value: never) => void,
    ) {
      if (event === 'message') messages.push(listener as (message: FromThread) => void);
      return this;
    });
    const one = new ThreadClient<Served>(program, names);
    on.mockRestore();
    const sum = one.remote.add(1, 2);
    const unref = jest.spyOn(Worker.prototype, 'unref');
    const closed = one.close();
    await failureOf('ERR_DISPOSED', () => sum);
    messages[0]?.({ kind: 'returned', id: 1, result: 3 });
    expect(messages).toHaveLength(1);
    expect(unref).not.toHaveBeenCalled();
    await closed;
    unref.mockRestore();
  });
});

describe('a thread that ends by itself', () => {
  it.each([
    ['exits', 'exit', undefined, 'ERR_INTERNAL', /^the test thread stopped$/],
    ['throws', 'crash', undefined, 'ERR_INTERNAL', /^the test thread stopped: the roof fell in$/],
    [
      'has no memory',
      'crash',
      'ENOMEM',
      'ERR_OUT_OF_MEMORY',
      /^the test thread stopped \(Error: the roof fell in\)/,
    ],
  ] as const)('fails its calls and later ones when it %s', async (_, method, code, expected, message) => {
    const waiting = failureOf(expected, () => client.remote.later('never', 60_000));
    const { remote } = client;
    const error = await failureOf(expected, () => (method === 'exit' ? remote.exit() : remote.crash(code)));
    expect(error).toBeInstanceOf(TesseraeError);
    expect(error.message).toMatch(message);
    expect(await waiting).toBe(error);
    expect(client.ended).toBe(true);
    await failureOf(expected, () => remote.add(1, 2));
  });
});

it('a process waits for calls, and for no idle thread', () => {
  const script = `
    const { ThreadClient } = require(${JSON.stringify(path.resolve(__dirname, '../../../dist/threads/client'))});
    const { remote } = new ThreadClient(${JSON.stringify(program)}, { thread: 'a', owner: 'b' });
    remote.add(1, 2).then(() => remote.later('waited', 300)).then(console.log);`;
  const { stdout, status } = spawnSync(process.execPath, ['-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect({ stdout, status }).toEqual({ stdout: 'waited\n', status: 0 });
});
