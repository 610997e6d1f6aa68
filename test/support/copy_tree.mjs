// A copy of this tree to change and build, for runs that should leave no trace in it.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '../..');

// Outputs of builds and runs: in a copy without git, nothing else distinguishes them from sources.
const isMade = (name) => /^(node_modules|dist|prebuilds|runs|coverage|\.git|build(-.*)?)$/.test(name);

function walk(folder, isLeftOut = () => false) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (isLeftOut(entry.name)) return [];
    if (!entry.isDirectory()) return [entry.name];
    return walk(path.join(folder, entry.name)).map((name) => path.join(entry.name, name));
  });
}

function sources() {
  const git = spawnSync('git', ['ls-files', '-coz', '--exclude-standard'], { cwd: root, encoding: 'utf8' });
  const names = git.status === 0 ? git.stdout.split('\0') : walk(root, isMade);
  // A file that git knows may be deleted.
  return names.filter((name) => name !== '' && existsSync(path.join(root, name)));
}

/**
 * Copies this tree's sources and packages to a folder. Leaves equal files untouched, because builds compare their times, and
 * keeps the outputs of builds and runs there.
 *
 * @param {string} to - made where it isn't there.
 */
export function copyTree(to) {
  mkdirSync(to, { recursive: true });
  const wanted = new Set(sources());
  for (const name of walk(to, isMade)) if (!wanted.has(name)) rmSync(path.join(to, name));
  for (const name of wanted) {
    const [from, target] = [path.join(root, name), path.join(to, name)];
    if (existsSync(target) && readFileSync(target).equals(readFileSync(from))) continue;
    mkdirSync(path.dirname(target), { recursive: true });
    copyFileSync(from, target);
  }
  // A folder of links, not a link: builds leave their stamps in it.
  const modules = path.join(to, 'node_modules');
  mkdirSync(modules, { recursive: true });
  for (const name of readdirSync(path.join(root, 'node_modules'))) {
    if (name === '.cache' || existsSync(path.join(modules, name))) continue;
    symlinkSync(path.join(root, 'node_modules', name), path.join(modules, name));
  }
}
