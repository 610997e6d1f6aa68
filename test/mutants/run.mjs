// npm run test:mutants: plants one bug after another in a copy of the tree and expects a gate to fail. It fails if a gate
// misses a bug, if the place of a bug is gone, or if a gate fails without a bug.
//   npm run test:mutants                    bugs of the CPU
//   npm run test:mutants -- --gpu           bugs of the GPU; needs nvcc and a GPU, unless
//   npm run test:mutants -- --build FOLDER  builds the addons of those bugs where nvcc is, and
//   npm run test:mutants -- --judge FOLDER  judges them where the GPU is, in a tree of the same sources
//
// The copy lies in the system's folder for temporary files and is kept, so that only what changed is built again.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { copyTree, root } from '../support/copy_tree.mjs';
import { gpuMutants } from './gpu.mjs';
import { mutants as cpuMutants } from './mutants.mjs';

const { values: options } = parseArgs({
  options: { gpu: { type: 'boolean', default: false }, build: { type: 'string' }, judge: { type: 'string' } },
});
const gpu = options.gpu || options.build !== undefined || options.judge !== undefined;
const mutants = gpu ? gpuMutants : cpuMutants;

const place = createHash('sha256').update(root).digest('hex').slice(0, 12);
const copy = path.join(os.tmpdir(), `tesserae-mutants-${os.userInfo().uid}-${place}`);

function run(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: copy,
    encoding: 'utf8',
    env: { ...process.env, TESSERAE_CUDA: gpu ? '1' : '0', FORCE_COLOR: '0' },
  });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}

const buildFolder = gpu ? 'build-cuda' : 'build';
const build = () => run('cmake', ['--build', buildFolder, '--target', 'tesserae']);
// `pattern`: of the names of the tests to run; all without it.
const test = (gates, pattern) =>
  run(process.execPath, [
    path.join(root, 'node_modules/jest/bin/jest.js'),
    '--selectProjects',
    ...(gpu ? ['gpu', '--runInBand'] : ['unit']),
    ...(pattern === undefined ? [] : ['--testNamePattern', pattern]),
    '--runTestsByPath',
    ...gates,
  ]);

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function stop(message, output = '') {
  console.error(output.slice(-6000));
  console.error(message);
  process.exit(1);
}

// A bug has to change the text, in one place that is still there.
function requirePlace({ name, file, search }) {
  const text = readFileSync(path.join(copy, file), 'utf8');
  const found = text.split(search).length - 1;
  if (found !== 1) stop(`'${name}': ${file} has the text ${found} times, not once:\n${search}`);
  return text;
}

function plant(mutant) {
  const full = path.join(copy, mutant.file);
  const text = requirePlace(mutant);
  writeFileSync(
    full,
    text.replace(mutant.search, () => mutant.replace),
  );
  return () => writeFileSync(full, text);
}

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(0).padStart(3)} s`;
const started = Date.now();

/** Builds the copy as it is: the addon of a mutant where one is planted. */
function prepareBuild() {
  copyTree(copy);
  // Programs of worker threads, such as the one that writes checkpoints.
  cpSync(path.join(root, 'dist'), path.join(copy, 'dist'), { recursive: true });
  // The GPU's bugs too: no other run of continuous integration would notice that their places are gone.
  [...cpuMutants, ...gpuMutants].forEach(requirePlace);
  const configured = ['build.ninja', 'Makefile'].some((file) =>
    existsSync(path.join(copy, buildFolder, file)),
  );
  if (!configured) {
    const first = run(process.execPath, ['scripts/build_native.mjs', ...(gpu ? ['--cuda', '--hopper'] : [])]);
    if (!first.ok) stop('The tree could not be built.', first.output);
  }
  const clean = build();
  if (!clean.ok) stop('The tree could not be built.', clean.output);
}

/** Calls `use` while a mutant is planted and built. */
function withMutant(mutant, use) {
  const heal = plant(mutant);
  try {
    if (mutant.file.startsWith('native/')) {
      const built = build();
      if (!built.ok) stop(`'${mutant.name}' does not compile.`, built.output);
    }
    return use();
  } finally {
    heal();
  }
}

const addonOf = (folder, index) => path.join(folder, `${index}.node`);
const HEALTHY = 'healthy';

/** The first half of --gpu: the addons of all mutants, and the one of no mutant. */
function buildInto(folder) {
  mkdirSync(folder, { recursive: true });
  prepareBuild();
  const addon = path.join(copy, buildFolder, 'Release/tesserae.node');
  cpSync(addon, addonOf(folder, HEALTHY));
  for (const [index, mutant] of mutants.entries()) {
    const since = Date.now();
    withMutant(mutant, () => cpSync(addon, addonOf(folder, index)));
    console.log(`${seconds(since)}  built  ${mutant.name}`);
  }
}

/** Gives the tests of the copy an addon. */
function install(addon) {
  const place = path.join(copy, 'build/Release/tesserae.node');
  mkdirSync(path.dirname(place), { recursive: true });
  // A new file: processes that still map the old one keep it.
  rmSync(place, { force: true });
  cpSync(addon, place);
}

/** Checks that the gates pass without a bug, then returns the mutants that none of them noticed. */
function judge(testOf) {
  const healthy = testOf(HEALTHY);
  if (!healthy.ok) stop('A gate fails without any bug.', healthy.output);
  console.log(`${seconds(started)}  every gate passes without a bug`);
  const survivors = [];
  for (const [index, mutant] of mutants.entries()) {
    const since = Date.now();
    const result = testOf(index);
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
}

// Only the named tests, if every mutant names one.
const named = mutants.every(({ only }) => only !== undefined);
const healthyGates = () =>
  test(
    [...new Set(mutants.map(({ gate }) => gate))],
    ...(named ? [[...new Set(mutants.map(({ only }) => escaped(only)))].join('|')] : []),
  );
const gateOf = ({ gate, only }) => test([gate], ...(only === undefined ? [] : [escaped(only)]));

if (gpu) {
  const folder = options.build ?? options.judge ?? path.join(copy, 'build-mutants');
  if (options.judge === undefined) buildInto(folder);
  if (options.build === undefined) {
    copyTree(copy);
    judge((index) => {
      install(addonOf(folder, index));
      return index === HEALTHY ? healthyGates() : gateOf(mutants[index]);
    });
  }
} else {
  prepareBuild();
  judge((index) =>
    index === HEALTHY ? healthyGates() : withMutant(mutants[index], () => gateOf(mutants[index])),
  );
}
