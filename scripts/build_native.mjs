// Builds the addon and op_run by cmake-js.
//   node scripts/build_native.mjs           build/        CUDA where nvcc and a driver are, or as TESSERAE_CUDA says
//   node scripts/build_native.mjs --cuda    build-cuda/   with CUDA
// --hopper leaves out the CUDA code for other chips.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { markBuilt, root } from './stale.mjs';

const { values: options } = parseArgs({
  options: {
    cuda: { type: 'boolean', default: false },
    hopper: { type: 'boolean', default: false },
    debug: { type: 'boolean', default: false },
  },
});
const env = { ...process.env };
if (options.cuda) env.TESSERAE_CUDA = '1';
const out = path.join(root, options.cuda ? 'build-cuda' : 'build');

// A build folder that was copied from another checkout still names the sources there.
const cache = path.join(out, 'CMakeCache.txt');
if (existsSync(cache) && !readFileSync(cache, 'utf8').includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) {
  rmSync(out, { recursive: true });
}

function cmakeJs(command) {
  const cli = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const flags = [
    '--directory',
    root,
    '--out',
    out,
    '--log-level',
    'warn',
    `--CDTESSERAE_HOPPER_ONLY=${options.hopper ? 'ON' : 'OFF'}`,
    ...(options.debug ? ['--debug'] : []),
    // For npm run ledger.
    ...(options.cuda
      ? [`--CDCMAKE_CUDA_COMPILER_LAUNCHER=${process.execPath};${root}/scripts/ptxas_record.mjs`]
      : []),
  ];
  const { status } = spawnSync(process.execPath, [cli, command, ...flags], {
    stdio: 'inherit',
    env,
    cwd: root,
  });
  if (status !== 0) process.exit(status ?? 1);
}

const started = new Date();
cmakeJs('configure');
cmakeJs('build');
if (!options.cuda && !options.debug) markBuilt('native', started);
