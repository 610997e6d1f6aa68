// Builds what is missing or older than its sources: the end of setup.sh. It is not the `prepare` script of package.json, because
// npm would warn everyone who installs the package about that.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { isStale, root } from './stale.mjs';

const require = createRequire(import.meta.url);

function installed(name) {
  try {
    require.resolve(`${name}/package.json`);
    return true;
  } catch {
    return false;
  }
}

function run(script) {
  const { status } = spawnSync(process.execPath, [path.join(root, 'scripts', script)], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

function hasPrebuild() {
  const folder = path.join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  return existsSync(folder) && readdirSync(folder).some((name) => name.endsWith('.node'));
}

if (!installed('typescript')) {
  console.log('tesserae: typescript is not installed, dist/ is left as it is');
} else if (
  isStale('typescript', 'dist/index.mjs', [
    'lib',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/build.mjs',
    'scripts/bundle_d3.mjs',
  ])
) {
  run('build.mjs');
}

if (hasPrebuild()) {
  console.log('tesserae: using the prebuilt addon');
} else if (!installed('cmake-js')) {
  console.log('tesserae: cmake-js is not installed, the addon is not built');
} else if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.log(`tesserae: the addon is built on Linux x64 only, not on ${process.platform} ${process.arch}`);
} else if (
  isStale('native', 'build/Release/tesserae.node', [
    'native',
    'cmake',
    'CMakeLists.txt',
    'scripts/build_native.mjs',
  ])
) {
  run('build_native.mjs');
}
