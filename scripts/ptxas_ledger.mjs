// npm run ledger: registers, spills, static shared memory and code of every CUDA kernel in build-cuda/, for each chip. The
// whole table goes to build-cuda/ledger.txt, a summary to the terminal. Fails on a spill that docs/spills.json does not
// explain, and on an explanation that nothing needs any more.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const build = path.join(root, 'build-cuda');
const explanations = JSON.parse(readFileSync(path.join(root, 'docs/spills.json'), 'utf8'));

const records = existsSync(build)
  ? readdirSync(build, { recursive: true }).filter(
      (file) =>
        file.endsWith('.ptxas.json') && existsSync(path.join(build, file.slice(0, -'.ptxas.json'.length))),
    )
  : [];
if (records.length === 0) {
  console.error('build-cuda/ has no records of ptxas: npm run build:cuda');
  process.exit(1);
}

const kernels = records.flatMap((file) => {
  const source = /native\/ops\/(.*)\.o\.ptxas\.json$/.exec(file)?.[1] ?? file;
  return JSON.parse(readFileSync(path.join(build, file), 'utf8')).map((kernel) => ({ source, ...kernel }));
});
const demangled = execFileSync('c++filt', { input: kernels.map(({ kernel }) => kernel).join('\n') })
  .toString()
  .split('\n');
for (const [index, kernel] of kernels.entries()) {
  // Without its return type, namespaces and arguments.
  kernel.name = demangled[index]
    .replace(/\(anonymous namespace\)::|tesserae::/g, '')
    .replace(/^void /, '')
    .replace(/\((?:[^()]|\([^()]*\))*\)$/, '');
}
kernels.sort((a, b) => `${a.source} ${a.name} ${a.chip}`.localeCompare(`${b.source} ${b.name} ${b.chip}`));

const columns = ['chip', 'registers', 'spillStores', 'spillLoads', 'shared', 'code', 'source', 'name'];
const table = [columns, ...kernels.map((kernel) => columns.map((column) => String(kernel[column])))];
const widths = columns.map((_, column) => Math.max(...table.map((row) => row[column].length)));
const text = table.map((row) =>
  row
    .map((cell, column) => (column > 5 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
    .join('  ')
    .trimEnd(),
);
writeFileSync(path.join(build, 'ledger.txt'), `${text.join('\n')}\n`);

const used = new Set();
const unexplained = kernels.filter(({ source, name, chip, spillStores, spillLoads }) => {
  if (spillStores + spillLoads === 0) return false;
  const found = explanations.find(
    (e) =>
      e.source === source &&
      new RegExp(e.kernel).test(name) &&
      e.chips.includes(chip) &&
      spillStores + spillLoads <= e.bytes,
  );
  if (found) used.add(found);
  return !found;
});

const spilled = kernels.filter(({ spillStores, spillLoads }) => spillStores + spillLoads > 0);
for (const chip of [...new Set(kernels.map((kernel) => kernel.chip))].sort()) {
  const of = kernels.filter((kernel) => kernel.chip === chip);
  const code = of.reduce((sum, kernel) => sum + kernel.code, 0);
  console.log(
    `${chip}: ${of.length} kernels, ${(code / 2 ** 20).toFixed(2)} MiB of code, at most ` +
      `${Math.max(...of.map(({ registers }) => registers))} registers, ` +
      `${spilled.filter((kernel) => kernel.chip === chip).length} spill`,
  );
}
console.log('the whole table: build-cuda/ledger.txt');
for (const { chip, source, name, spillStores, spillLoads } of unexplained) {
  console.error(
    `unexplained spill: ${chip} ${source} ${name}: ${spillStores} bytes stored, ${spillLoads} loaded`,
  );
}
const idle = explanations.filter((explanation) => !used.has(explanation));
for (const { source, kernel } of idle)
  console.error(`docs/spills.json explains what does not spill: ${source} ${kernel}`);
process.exitCode = unexplained.length + idle.length > 0 ? 1 : 0;
