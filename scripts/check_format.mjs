// Checks the layout of native/ by clang-format, or with --fix rewrites it.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { root } from './stale.mjs';

const { values: options } = parseArgs({ options: { fix: { type: 'boolean', default: false } } });
const files = readdirSync(path.join(root, 'native'), { withFileTypes: true, recursive: true })
  .filter((entry) => entry.isFile() && /\.(?:cc|h|cu|cuh)$/.test(entry.name))
  .map((entry) => path.join(entry.parentPath, entry.name));

// The layout is that of clang-format 14; others differ in details.
const tool = ['clang-format-14', 'clang-format'].find((name) => spawnSync(name, ['--version']).status === 0);
if (!tool) {
  console.error('clang-format is missing. Install it (Debian, Ubuntu: apt-get install clang-format).');
  process.exit(1);
}
if (files.length > 0) {
  const flags = options.fix ? ['-i'] : ['--dry-run', '--Werror', '--ferror-limit=1'];
  process.exitCode = spawnSync(tool, [...flags, ...files], { stdio: 'inherit' }).status ?? 1;
}
