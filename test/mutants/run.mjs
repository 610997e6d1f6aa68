// npm run test:mutants: plants one bug after another in a copy of the tree and expects a gate to fail. A gate that lets
// one through, a bug whose place is gone, and a gate that fails without a bug are failures.
//
// The copy lies in the system's folder for temporary files and is kept, so that only what changed is built again.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { mutants } from './mutants.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const place = createHash('sha256').update(root).digest('hex').slice(0, 12);
const copy = path.join(os.tmpdir(), `tesserae-mutants-${os.userInfo().uid}-${place}`);
const sources = [
  'native',
  'cmake',
  'lib',
  'test',
  'scripts',
  'CMakeLists.txt',
  'package.json',
  'jest.config.cjs',
];

const filesOf = (entry, base) => {
  const full = path.join(base, entry);
  if (!existsSync(full)) return [];
  const listed = readdirSync(path.dirname(full), { withFileTypes: true }).find(
    ({ name }) => name === path.basename(full),
  );
  if (!listed.isDirectory()) return [entry];
  return readdirSync(full, { withFileTypes: true, recursive: true })
    .filter((found) => found.isFile())
    .map((found) => path.relative(base, path.join(found.parentPath, found.name)));
};

// Files that are equal keep their time: nothing that depends on them is built again.
function synchronise() {
  mkdirSync(copy, { recursive: true });
  const wanted = new Set(sources.flatMap((entry) => filesOf(entry, root)));
  for (const file of sources.flatMap((entry) => filesOf(entry, copy))) {
    if (!wanted.has(file)) rmSync(path.join(copy, file));
  }
  for (const file of wanted) {
    const [from, to] = [path.join(root, file), path.join(copy, file)];
    if (existsSync(to) && readFileSync(from).equals(readFileSync(to))) continue;
    mkdirSync(path.dirname(to), { recursive: true });
    cpSync(from, to);
  }
  const modules = path.join(copy, 'node_modules');
  if (!existsSync(modules)) symlinkSync(path.join(root, 'node_modules'), modules);
}

function run(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: copy,
    encoding: 'utf8',
    env: { ...process.env, TESSERAE_CUDA: '0', FORCE_COLOR: '0' },
  });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}

const build = () => run('cmake', ['--build', 'build', '--target', 'tesserae']);
const test = (gates, only) =>
  run(process.execPath, [
    path.join(root, 'node_modules/jest/bin/jest.js'),
    '--selectProjects',
    'unit',
    ...(only === undefined ? [] : ['--testNamePattern', only]),
    '--runTestsByPath',
    ...gates,
  ]);

function stop(message, output = '') {
  console.error(output.slice(-6000));
  console.error(message);
  process.exit(1);
}

// A bug has to change the text, in one place that is still there.
function plant({ name, file, search, replace }) {
  const full = path.join(copy, file);
  const text = readFileSync(full, 'utf8');
  const found = text.split(search).length - 1;
  if (found !== 1) stop(`'${name}': ${file} has the text ${found} times, not once:\n${search}`);
  writeFileSync(
    full,
    text.replace(search, () => replace),
  );
  return () => writeFileSync(full, text);
}

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(0).padStart(3)} s`;
const started = Date.now();

synchronise();
for (const mutant of mutants) plant(mutant)();
if (!existsSync(path.join(copy, 'build/build.ninja')) && !existsSync(path.join(copy, 'build/Makefile'))) {
  const configured = run(process.execPath, ['scripts/build_native.mjs']);
  if (!configured.ok) stop('The tree could not be built.', configured.output);
}
const clean = build();
if (!clean.ok) stop('The tree could not be built.', clean.output);
const healthy = test([...new Set(mutants.map(({ gate }) => gate))]);
if (!healthy.ok) stop('A gate fails without any bug.', healthy.output);
console.log(`${seconds(started)}  built, and every gate passes without a bug`);

const survivors = [];
for (const mutant of mutants) {
  const since = Date.now();
  const heal = plant(mutant);
  let result = { ok: true, output: '' };
  try {
    if (mutant.file.startsWith('native/')) result = build();
    if (!result.ok) stop(`'${mutant.name}' does not compile.`, result.output);
    result = test([mutant.gate], mutant.only);
  } finally {
    heal();
  }
  if (result.output.includes('Test suite failed to run'))
    stop(`'${mutant.name}' is no bug but an error.`, result.output);
  if (result.ok) survivors.push(mutant);
  console.log(`${seconds(since)}  ${result.ok ? 'SURVIVED' : 'killed  '}  ${mutant.name}`);
}
console.log(
  `${mutants.length - survivors.length} mutants killed of ${mutants.length} in ${seconds(started).trim()}`,
);
for (const { name, gate } of survivors) console.error(`${gate} does not notice: ${name}`);
process.exitCode = survivors.length > 0 ? 1 : 0;
