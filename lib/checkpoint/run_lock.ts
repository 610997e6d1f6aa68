import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { exhaustedError, TesseraeError } from '../errors';
import { retried } from '../files/retried';

/** The folder's name in messages, and its setting. */
export interface LockedFolder {
  /** Default: as it was given. */
  readonly shown?: string;
  /** Default 'outputDir'. */
  readonly setting?: string;
}

interface Held {
  readonly owner: object;
  readonly server: Promise<Server | undefined>;
  count: number;
}

/** What this thread holds, by the name of the socket. */
const held = new Map<string, Held>();

/**
 * Locks the folder of a run against others who write checkpoints: other processes of this machine, other threads, and other
 * owners in this thread. The same owner may lock a folder several times; disposing of the last lock frees it.
 *
 * It holds a socket of Linux that has no file and is named by the folder's device and inode. The system closes it when the
 * process or the thread ends, however that ends: no lock is left behind, none needs a process id, and a folder that is
 * read-only can be locked. Containers with a network of their own, and machines that share a disk, do not see each other's.
 *
 * @param owner - on whose behalf; of a trainer itself.
 * @throws TesseraeError `ERR_CONFIG` if another holds it, or the error of retried calls if files or memory are used up. A
 * missing folder is not locked: it has nothing to overwrite.
 */
export async function lockRun(
  directory: string,
  owner: object,
  { shown = directory, setting = 'outputDir' }: LockedFolder = {},
): Promise<Disposable> {
  const name = process.platform === 'linux' ? await socketName(directory) : undefined;
  if (name === undefined) return { [Symbol.dispose]: () => undefined };
  const refuse = (who: string): never => {
    throw new TesseraeError(
      'ERR_CONFIG',
      `another ${who} is training into outputDir '${shown}': wait for it, or choose another outputDir ` +
        '(--output-dir)',
      { details: { path: setting, directory: path.resolve(directory) } },
    );
  };
  const others = held.get(name);
  if (others && others.owner !== owner) refuse('trainer');
  const lock = others ?? { owner, server: listening(name), count: 0 };
  held.set(name, lock);
  lock.count++;
  const release = (): void => {
    if (--lock.count > 0) return;
    held.delete(name);
    void lock.server.then(
      (server) => server?.close(),
      () => undefined,
    );
  };
  try {
    await lock.server;
  } catch (cause) {
    release();
    if ((cause as NodeJS.ErrnoException).code === 'EADDRINUSE') refuse('process');
    throw exhaustedError(`outputDir '${shown}' could not be locked`, cause) ?? cause;
  }
  let done = false;
  return {
    [Symbol.dispose]: () => {
      if (!done) release();
      done = true;
    },
  };
}

/** By the folder itself: it may have several names. */
async function socketName(directory: string): Promise<string | undefined> {
  const found = await stat(directory, { bigint: true }).catch(() => undefined);
  return found && `\0tesserae-run-${found.dev}-${found.ino}`;
}

/** A socket that does not keep the process alive; undefined where the system allows none. */
async function listening(name: string): Promise<Server | undefined> {
  const attempt = async (): Promise<Server> => {
    const server = createServer().unref();
    // Exclusive: the processes of a cluster would share it.
    server.listen({ path: name, exclusive: true });
    await once(server, 'listening');
    return server;
  };
  return retried(attempt).catch((cause: unknown) => {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') return undefined; // a sandbox: it has no sockets at all
    throw cause;
  });
}
