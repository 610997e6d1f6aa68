// Follows the pages of docs/tutorials from nothing, as a contributor would, so that what they show stays true: in a copy
// of this tree it writes their files, applies their diffs and runs their commands, in order, up to the first that fails.
//   node test/tutorials/run.mjs           in a new folder, which is removed in the end
//   node test/tutorials/run.mjs FOLDER    in a folder that stays, where the next run compiles only what has changed
//
// A fence says what its block is:   ```ts lib/a.ts     a new file; later blocks of that name continue it
//                                   ```diff lib/b.ts   lines of a file that is there; a line @@ separates places
//                                   ```sh              commands; ```sh gpu are left out
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { copyTree, root } from '../support/copy_tree.mjs';

// Each continues the previous one.
const pages = ['adding_a_model', 'adding_an_operation', 'adding_a_cuda_kernel'].map(
  (name) => `docs/tutorials/${name}.md`,
);

function blocksOf(page) {
  const text = readFileSync(path.join(root, page), 'utf8');
  return [...text.matchAll(/^```(\w+)[ ]?(.*)\n([^]*?)^```$/gm)].map(([, language, info, body]) => ({
    language,
    info,
    body,
  }));
}

function patched(text, diff) {
  for (const hunk of diff.split(/^@@.*\n/m)) {
    const lines = hunk.split('\n').slice(0, -1);
    if (lines.length === 0) continue;
    const side = (other) =>
      lines
        .filter((line) => line[0] !== other)
        .map((line) => `${line.slice(1)}\n`)
        .join('');
    const before = side('+');
    const places = `\n${text}`.split(`\n${before}`).length - 1;
    if (places !== 1) throw new Error(`these lines are in the file ${places} times, not once:\n${before}`);
    const at = `\n${text}`.indexOf(`\n${before}`);
    text = text.slice(0, at) + side('-') + text.slice(at + before.length);
  }
  return text;
}

function run(commands, cwd) {
  // A CUDA build takes minutes, and these commands need none.
  const env = { TESSERAE_CUDA: '0', ...process.env };
  const { status, stdout, error } = spawnSync('bash', ['-euo', 'pipefail', '-c', `exec 2>&1\n${commands}`], {
    cwd,
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`${stdout}\n${error?.message ?? `exit status ${status}`}`);
}

// Files that a page has begun.
const begun = new Set();

function perform({ language, info, body }, folder) {
  if (language === 'sh') return run(body, folder);
  const file = path.join(folder, info);
  if (language === 'diff') return writeFileSync(file, patched(readFileSync(file, 'utf8'), body));
  if (begun.has(info)) return appendFileSync(file, `\n${body}`);
  if (existsSync(file)) throw new Error(`${info} is there already: show what changes as a diff`);
  begun.add(info);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, body);
}

function step(name, action) {
  const started = performance.now();
  try {
    action();
  } catch (error) {
    console.error(`FAILED  ${name}\n${error.message}`);
    process.exitCode = 1;
    return false;
  }
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${name}`);
  return true;
}

function* steps(folder) {
  yield ['a copy of the tree', () => copyTree(folder)];
  yield [
    'setup: npm run build && npm run build:native',
    () => run('npm run build && npm run build:native', folder),
  ];
  for (const page of pages) {
    for (const block of blocksOf(page)) {
      const { language, info, body } = block;
      if (language === 'sh' ? info !== '' : info === '') continue;
      const what = language === 'sh' ? body.trim().replaceAll('\n', ' ; ') : `${language} ${info}`;
      yield [`${path.basename(page)}: ${what}`, () => perform(block, folder)];
    }
  }
}

const [given] = process.argv.slice(2);
const folder =
  given === undefined ? mkdtempSync(path.join(tmpdir(), 'tesserae-tutorials-')) : path.resolve(given);
try {
  for (const [name, action] of steps(folder)) if (!step(name, action)) break;
} finally {
  if (given === undefined) rmSync(folder, { recursive: true });
}
