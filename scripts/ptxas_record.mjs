// Runs nvcc for one object and writes ptxas's report on its kernels next to it (<object>.ptxas.json), for
// scripts/ptxas_ledger.mjs. CMake calls it as the launcher of nvcc in `npm run build:cuda`. Fails where ptxas gives up what
// makes a kernel fast, which it only mentions: wgmma in flight, registers moved between warpgroups.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const [nvcc, ...args] = process.argv.slice(2);
const object = args[args.indexOf('-o') + 1];

// The machine code of each chip, before it is compressed into the object.
const kept = `${object}.keep`;
rmSync(kept, { recursive: true, force: true });
mkdirSync(kept, { recursive: true });
const { status, stdout, stderr, error } = spawnSync(
  nvcc,
  [...args, '--resource-usage', '--keep', '--keep-dir', kept],
  { encoding: 'utf8', maxBuffer: 1 << 28 },
);
if (error) throw error;

/** Bytes of code by kernel: the .text sections of an ELF64 file. */
function codeBytes(file) {
  const elf = readFileSync(file);
  const at = Number(elf.readBigUInt64LE(0x28));
  const size = elf.readUInt16LE(0x3a);
  const count = elf.readUInt16LE(0x3c);
  const section = (index) => {
    const header = at + index * size;
    return {
      name: elf.readUInt32LE(header),
      offset: Number(elf.readBigUInt64LE(header + 0x18)),
      bytes: Number(elf.readBigUInt64LE(header + 0x20)),
    };
  };
  const names = section(elf.readUInt16LE(0x3e));
  const sizes = new Map();
  for (let index = 0; index < count; index++) {
    const { name, bytes } = section(index);
    const start = names.offset + name;
    const text = elf.toString('latin1', start, elf.indexOf(0, start));
    if (text.startsWith('.text.')) sizes.set(text.slice('.text.'.length), bytes);
  }
  return sizes;
}

function record() {
  const sizes = new Map();
  for (const name of readdirSync(kept)) {
    const chip = /(\d+[a-z]?)\.cubin$/.exec(name)?.[1];
    if (chip) sizes.set(`sm_${chip}`, codeBytes(path.join(kept, name)));
  }
  const kernels = [];
  // ptxas reports a kernel in several lines; the first names it.
  for (const part of stderr.split('Compiling entry function ').slice(1)) {
    const [, kernel, chip] = /^'(\S+)' for '(\S+)'/.exec(part);
    const number = (pattern) => Number(pattern.exec(part)?.[1] ?? 0);
    kernels.push({
      kernel,
      chip,
      registers: number(/Used (\d+) registers/),
      spillStores: number(/(\d+) bytes spill stores/),
      spillLoads: number(/(\d+) bytes spill loads/),
      shared: number(/(\d+) bytes smem/),
      code: sizes.get(chip)?.get(kernel) ?? 0,
    });
  }
  return kernels;
}

const givenUp = stderr.split('\n').filter((line) => /wgmma.* serialized|setmaxnreg.* ignored/.test(line));
const failed = status !== 0 || givenUp.length > 0;
if (failed) rmSync(object, { force: true });
else writeFileSync(`${object}.ptxas.json`, JSON.stringify(record()));
rmSync(kept, { recursive: true });
process.stdout.write(stdout);
// Everything but ptxas's report: warnings and errors.
process.stderr.write(
  stderr
    .split(/(?<=\n)/)
    .filter((line) => !/^ptxas info|^ {4}\d+ bytes stack frame/.test(line))
    .join(''),
);
for (const line of givenUp) console.error(`error: ${line}`);
process.exitCode = failed ? status || 1 : 0;
