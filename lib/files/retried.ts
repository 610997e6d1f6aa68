import { setTimeout as wait } from 'node:timers/promises';
import { isExhausted } from '../errors';

/** Milliseconds before each retry: a shortage of files or memory is often short. */
const PAUSES = [10, 40, 160, 640];

/** Calls a function; if it fails because files, threads or memory are used up, retries for a second. */
export async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (const pause of PAUSES) {
    try {
      return await work();
    } catch (error) {
      if (!isExhausted(error)) throw error;
    }
    await wait(pause);
  }
  return work();
}

/** Like `retried`, in threads that may block. */
export function retriedSync<T>(work: () => T): T {
  for (const pause of PAUSES) {
    try {
      return work();
    } catch (error) {
      if (!isExhausted(error)) throw error;
    }
    Atomics.wait(NEVER_WOKEN, 0, 0, pause);
  }
  return work();
}

const NEVER_WOKEN = new Int32Array(new SharedArrayBuffer(4));
