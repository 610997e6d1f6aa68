import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';

/**
 * Makes a folder and its missing parents. Node's own recursive mkdir never ends on file systems, such as /proc, that report
 * ENOENT for a new folder although its parent exists.
 */
export async function makeFolder(name: string): Promise<void> {
  const made = (): Promise<NodeJS.ErrnoException | undefined> =>
    mkdir(name).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error,
    );
  let failure = await made();
  if (failure?.code === 'ENOENT' && path.dirname(name) !== name) {
    await makeFolder(path.dirname(name));
    failure = await made();
  }
  if (!failure) return;
  const isFolder = await stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (failure.code !== 'EEXIST' || !isFolder) throw failure;
}
