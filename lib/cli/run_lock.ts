import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { TesseraeError } from '../errors';
import { makeFolder } from '../report/make_folder';
import { shownPath } from './terminal';

/**
 * Keeps other processes of this machine from training into the same folder, on Linux: they would remove what this one is
 * writing. It holds a socket of no file, which ends with the process however that ends, so that no crash leaves a lock.
 *
 * @throws TesseraeError `ERR_CONFIG` when another holds it.
 */
export async function lockRun(directory: string): Promise<Disposable> {
  const server = createServer().unref();
  const unlock = { [Symbol.dispose]: () => void server.close() };
  if (process.platform !== 'linux') return unlock;
  try {
    await makeFolder(directory);
    // By the folder itself: it may have several names.
    const { dev, ino } = await stat(directory, { bigint: true });
    server.listen(`\0tesserae-run-${dev}-${ino}`);
    await once(server, 'listening');
  } catch (error) {
    // Where no folder can be made, or no socket, others tell of it, or there is no lock.
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE')
      throw new TesseraeError(
        'ERR_CONFIG',
        `outputDir '${shownPath(directory)}' is where another process is training now: wait for it, or give another ` +
          '--output-dir',
        { details: { path: 'training.outputDir' } },
      );
  }
  return unlock;
}
