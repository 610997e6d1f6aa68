import { access, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { isLeftover, parseTemporary } from './temporary_path';

/**
 * Removes temporary files that killed processes left next to a file or folder. If such a process had moved the target aside but
 * not yet replaced it, this restores the target. Files that can't be removed stay: they do no harm.
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
