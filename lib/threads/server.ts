/** The thread's end of a ThreadClient. */
import { parentPort } from 'node:worker_threads';
import { exhaustedError, TesseraeError } from '../errors';
import type { ErrorMessage, FromThread, ToThread } from './messages';
import { transferList } from './transfer';

type Callable = (...args: unknown[]) => unknown;

/** A call of a client's function that has not ended. */
interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Serves the methods of an object to the ThreadClient that started this thread. Calls begin in the order in which they come, and
 * don't wait for one another.
 *
 * An argument that is a function runs in the client's thread and returns a promise here. If it throws, so does the call,
 * whether the method awaits it or not. Outside a worker thread nobody calls, and nothing happens.
 *
 * @param failure - start of the message of an error without a code.
 */
export function serve(methods: object, failure: string): void {
  const port = parentPort;
  if (!port) return;
  const served = methods as Readonly<Record<string, unknown>>;
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  const send = (message: FromThread, moved: ArrayBuffer[] = []): void => port.postMessage(message, moved);

  const functionOf =
    (of: number, place: number) =>
    (...args: unknown[]): Promise<unknown> => {
      const id = ++lastId;
      const result = new Promise((resolve, reject) => {
        send({ kind: 'callFunction', id, of, place, args });
        waiting.set(id, { resolve, reject });
      });
      result.catch(() => undefined); // the client knows of it
      return result;
    };

  const run = async ({ id, method, args, functions }: Extract<ToThread, { kind: 'call' }>): Promise<void> => {
    try {
      const given = args.map((arg, place) => (functions.includes(place) ? functionOf(id, place) : arg));
      const result = await Reflect.apply(served[method] as Callable, methods, given);
      send({ kind: 'returned', id, result }, transferList(result));
    } catch (error) {
      send({ kind: 'threw', id, error: messageFor(error, failure) });
    }
  };

  port.on('message', (message: ToThread) => {
    if (message.kind === 'call') {
      void run(message);
      return;
    }
    const { id, result, failed } = message;
    const one = waiting.get(id);
    waiting.delete(id);
    if (failed) one?.reject(new Error('a function of the caller failed'));
    else one?.resolve(result);
  });
}

function messageFor(error: unknown, failure: string): ErrorMessage {
  const { code, message, details } =
    error instanceof TesseraeError
      ? error
      : (exhaustedError(failure, error) ?? new TesseraeError('ERR_INTERNAL', `${failure}: ${String(error)}`));
  return { code, message, details };
}
