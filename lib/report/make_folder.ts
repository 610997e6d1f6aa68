import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';

/**
 * Makes a folder and those above it that are missing. Node's own recursive mkdir does not end where a file system, such as
 * /proc, says of a new folder that the one above it is missing.
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
