import { existsSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { messageOf, TesseraeError } from '../errors';

/**
 * Starts a thread.
 *
 * @param program - its program in lib/, such as `data/worker`.
 * @throws TesseraeError `ERR_DEVICE` when the system lets the process start no more threads; `ERR_INTERNAL` when the program
 * is missing.
 */
export function startWorker(program: string): Worker {
  const file = path.resolve(__dirname, '../../dist', `${program}.js`);
  if (!existsSync(file))
    throw new TesseraeError('ERR_INTERNAL', `${file} is missing: in a clone, run npm run build`);
  try {
    return new Worker(file);
  } catch (cause) {
    throw new TesseraeError(
      'ERR_DEVICE',
      `the system lets this process start no more threads (${messageOf(cause)}): raise its limit (ulimit -u, or that of the container)`,
      { cause },
    );
  }
}
