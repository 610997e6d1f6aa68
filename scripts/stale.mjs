// Whether a build is older than its sources: stamps under node_modules/.cache, compared by modification time.
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '..');

const stampOf = (name) => path.join(root, 'node_modules/.cache/tesserae', `${name}.stamp`);

// Folders count too: removing a file changes its folder's time.
function newest(file) {
  if (!existsSync(file)) return 0;
  const status = statSync(file);
  if (!status.isDirectory()) return status.mtimeMs;
  return Math.max(status.mtimeMs, ...readdirSync(file).map((name) => newest(path.join(file, name))));
}

export function isStale(name, output, inputs) {
  const stamp = stampOf(name);
  if (!existsSync(path.join(root, output)) || !existsSync(stamp)) return true;
  return Math.max(...inputs.map((input) => newest(path.join(root, input)))) > statSync(stamp).mtimeMs;
}

// `started` is the time before the build read its first input.
export function markBuilt(name, started) {
  const stamp = stampOf(name);
  mkdirSync(path.dirname(stamp), { recursive: true });
  writeFileSync(stamp, '');
  utimesSync(stamp, started, started);
}
