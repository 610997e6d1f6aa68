import { access, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { isLeftover, parseTemporary } from './temporary_path';

/**
 * Removes what processes left beside a file or folder that were killed while they wrote it. If one had moved the target
 * aside and not yet put the new one in its place, the target comes back. What can't be removed stays: it is in nobody's way.
 */
export async function removeLeftoversOf(target: string): Promise<void> {
  const folder = path.dirname(path.resolve(target));
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const temporary = parseTemporary(name);
    if (temporary?.target !== path.basename(target) || !(await isLeftover(temporary))) continue;
    const leftover = path.join(folder, name);
    const isThere = await access(target).then(
      () => true,
      () => false,
    );
    if (temporary.kind === 'old' && !isThere) await rename(leftover, target).catch(() => undefined);
    else await rm(leftover, { recursive: true, force: true }).catch(() => undefined);
  }
}
