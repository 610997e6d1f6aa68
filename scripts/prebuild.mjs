// npm run prebuilds: the addon as the package ships it, where node-gyp-build looks for it:
//   prebuilds/linux-x64/tesserae.glibc.node    CPU and CUDA in one; stripped
//   prebuilds/linux-x64/*.so.*                 libraries that a plain system lacks, found by the addon's DT_RPATH
//   prebuilds/linux-x64/licenses/              theirs
// Fails if anything needs a newer C or C++ library than the package promises.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';

import { root } from './stale.mjs';

// The docs promise glibc 2.34, and the C++ library of GCC 11, which the oldest systems with it have.
const LEAST = { GLIBC: [2, 34], GLIBCXX: [3, 4, 29] };
// Parts of the system, or of every system with Node.js.
const SYSTEM = /^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s)\.so/;

const folder = path.join(root, 'prebuilds', 'linux-x64');
const built = path.join(root, 'build-cuda', 'Release', 'tesserae.node');

const build = spawnSync(process.execPath, [path.join(root, 'scripts', 'build_native.mjs'), '--cuda'], {
  stdio: 'inherit',
});
if (build.status !== 0) process.exit(build.status ?? 1);

rmSync(path.join(root, 'prebuilds'), { recursive: true, force: true });
mkdirSync(path.join(folder, 'licenses'), { recursive: true });
const addon = path.join(folder, 'tesserae.glibc.node');
execFileSync('strip', ['--strip-unneeded', '-o', addon, built]);
for (const [name, file] of librariesOf(built)) {
  const to = path.join(folder, name);
  copyFileSync(file, to);
  chmodSync(to, 0o644);
  copyLicense(file, name);
}

let bytes = 0;
for (const name of readdirSync(folder)) {
  const file = path.join(folder, name);
  if (!statSync(file).isFile()) continue;
  const needs = Object.entries(LEAST).map(([library, least]) => [library, newest(file, library), least]);
  for (const [library, version, least] of needs) {
    if (isNewer(version, least))
      fail(`${name} needs ${library} ${version.join('.')}, newer than ${least.join('.')}`);
  }
  bytes += statSync(file).size;
  const wants = needs.map(([library, version]) => `${library} ${version.join('.') || '-'}`).join(', ');
  console.log(`${(statSync(file).size / 1e6).toFixed(1).padStart(6)} MB  ${name}  (${wants})`);
}
console.log(`${(bytes / 1e6).toFixed(1).padStart(6)} MB  in prebuilds/linux-x64`);

/** Libraries that the addon needs, directly or not, except the system's: [name, file]. */
function librariesOf(file) {
  const lines = execFileSync('ldd', [file], { encoding: 'utf8' }).trim().split('\n');
  return lines
    .map((line) => /^\s*(\S+) => (\/\S+|not found)/.exec(line))
    .filter((match) => match !== null && !SYSTEM.test(match[1]))
    .map(([, name, found]) =>
      found === 'not found' ? fail(`${name} is missing: run ./setup.sh`) : [name, found],
    );
}

/** Debian keeps a package's licence beside its documentation. */
function copyLicense(file, name) {
  const real = execFileSync('readlink', ['-f', file], { encoding: 'utf8' }).trim();
  const search = spawnSync('dpkg', ['-S', real, real.replace(/^\/usr/, '')], { encoding: 'utf8' });
  const owner = /^([^:\s]+)(?::\w+)?:/m.exec(search.stdout)?.[1];
  const license = owner && `/usr/share/doc/${owner}/copyright`;
  if (!license || !existsSync(license))
    fail(`the licence of ${name} was not found: it can't be shipped without`);
  copyFileSync(license, path.join(folder, 'licenses', name));
}

/** The newest version of a library's symbols that a file asks for, as numbers. */
function newest(file, library) {
  const symbols = execFileSync('objdump', ['-T', file], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  const versions = [...symbols.matchAll(new RegExp(`\\(?${library}_([0-9.]+)\\)?`, 'g'))];
  return versions
    .map(([, version]) => version.split('.').map(Number))
    .reduce((a, b) => (isNewer(b, a) ? b : a), []);
}

function isNewer(version, than) {
  for (let i = 0; i < Math.max(version.length, than.length); i++) {
    const [a, b] = [version[i] ?? 0, than[i] ?? 0];
    if (a !== b) return a > b;
  }
  return false;
}

function fail(message) {
  console.error(`prebuild: ${message}`);
  process.exit(1);
}
