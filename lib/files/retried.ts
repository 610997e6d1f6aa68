import { setTimeout as wait } from 'node:timers/promises';
import { isExhausted } from '../errors';

/** Milliseconds before each further try: what uses files and memory up is often over soon. */
const PAUSES = [10, 40, 160, 640];

/** Does what may fail because files, threads or memory are used up, and tries it again for a second when it does. */
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

/** As retried, in threads that may wait. */
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
