import { existsSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import type { FromThread, ToThread } from './messages';
import { transferList } from './transfer';

/** The methods of a served object as another thread calls them. */
export type Remote<Served> = {
  readonly [Name in keyof Served]: Served[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};

/** Names of a thread in error messages. */
export interface ThreadNames {
  /** Such as `the data worker`. */
  readonly thread: string;
  /** The object that was closed with it, such as `the data`. */
  readonly owner: string;
}

type Callable = (...args: unknown[]) => unknown;

/** A call that has not ended. */
interface Call {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly args: readonly unknown[];
  /** The first error of a function among the arguments. */
  failure?: { readonly error: unknown };
}

/**
 * Runs a program in a worker thread and calls the methods that it serves (`serve` of server.ts). The process stays alive
 * during a call, and ends without waiting for an idle thread.
 *
 * Arguments and results are copied; `transfer` of transfer.ts moves arrays instead. An argument that is a function is called in
 * this thread.
 *
 * @example
 * const thread = new ThreadClient<Adder>('adder.js', { thread: 'the adder', owner: 'the sum' });
 * const sum = await thread.remote.add(1, 2);
 */
export class ThreadClient<Served extends object> {
  /**
   * The served methods. They reject with what the method threw, when that is a TesseraeError; `ERR_DISPOSED` after `close()`;
   * `ERR_INTERNAL` when the thread fails or ends; `ERR_OUT_OF_MEMORY` or `ERR_DEVICE` when the system has used up what it needs.
   */
  readonly remote: Remote<Served>;
  private readonly worker: Worker;
  private readonly calls = new Map<number, Call>();
  private lastId = 0;
  private endedBy: TesseraeError | undefined;

  /**
   * @param program - its path from dist/.
   * @throws TesseraeError `ERR_DEVICE` if the system refuses another thread; `ERR_INTERNAL` if the program is missing.
   */
  constructor(
    program: string,
    private readonly names: ThreadNames,
  ) {
    const stopped = `${names.thread} stopped`;
    this.worker = start(program);
    this.worker.unref();
    this.worker.on('message', (message: FromThread) => this.receive(message));
    this.worker.on('error', (cause) =>
      this.end(
        exhaustedError(stopped, cause) ??
          new TesseraeError('ERR_INTERNAL', `${stopped}: ${cause.message}`, { cause }),
      ),
    );
    this.worker.on('exit', () => this.end(new TesseraeError('ERR_INTERNAL', stopped)));
    this.remote = new Proxy({} as Remote<Served>, {
      // A promise that resolves to it looks for `then`.
      get: (_, method) =>
        typeof method === 'string' && method !== 'then'
          ? (...args: unknown[]) => this.call(method, args)
          : undefined,
    });
  }

  /** Whether it was closed, or ended by itself: all calls reject. */
  get ended(): boolean {
    return this.endedBy !== undefined;
  }

  /** Ends the thread at once; its open calls and all later calls reject with `ERR_DISPOSED`. */
  async close(): Promise<void> {
    this.end(new TesseraeError('ERR_DISPOSED', `${this.names.owner} was closed`));
    await this.worker.terminate();
  }

  private async call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.endedBy) throw this.endedBy;
    const id = ++this.lastId;
    const functions = [...args.keys()].filter((place) => typeof args[place] === 'function');
    const sent = args.map((arg) => (typeof arg === 'function' ? undefined : arg));
    this.send({ kind: 'call', id, method, args: sent, functions }, args.flatMap(transferList));
    this.worker.ref();
    return new Promise((resolve, reject) => this.calls.set(id, { resolve, reject, args }));
  }

  private send(message: ToThread, moved: ArrayBuffer[] = []): void {
    this.worker.postMessage(message, moved);
  }

  private receive(message: FromThread): void {
    const id = message.kind === 'callFunction' ? message.of : message.id;
    const call = this.calls.get(id);
    // It was on its way when the thread was closed. To unref now would let the process end before the thread has.
    if (!call) return;
    if (message.kind === 'callFunction') {
      void this.callFunction(call, message);
      return;
    }
    this.calls.delete(id);
    if (this.calls.size === 0) this.worker.unref();
    if (call.failure) call.reject(call.failure.error);
    else if (message.kind === 'returned') call.resolve(message.result);
    else {
      const { code, message: text, details } = message.error;
      call.reject(new TesseraeError(code, text, { details: { ...details } }));
    }
  }

  private async callFunction(
    call: Call,
    { id, place, args }: Extract<FromThread, { kind: 'callFunction' }>,
  ): Promise<void> {
    try {
      const result = await Reflect.apply(call.args[place] as Callable, undefined, args);
      this.send({ kind: 'called', id, result, failed: false }, transferList(result));
    } catch (error) {
      call.failure ??= { error };
      this.send({ kind: 'called', id, failed: true });
    }
  }

  private end(reason: TesseraeError): void {
    this.endedBy ??= reason;
    for (const { reject } of this.calls.values()) reject(this.endedBy);
    this.calls.clear();
  }
}

function start(program: string): Worker {
  const file = path.resolve(__dirname, '../../dist', program);
  if (!existsSync(file))
    throw new TesseraeError('ERR_INTERNAL', `${file} is missing: in a clone, run npm run build`);
  try {
    return new Worker(file);
  } catch (cause) {
    throw new TesseraeError(
      'ERR_DEVICE',
      `this process can't start more threads (${messageOf(cause)}): raise its limit (ulimit -u, or that of the container)`,
      { cause },
    );
  }
}
