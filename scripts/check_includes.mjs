// Checks that includes inside native/ go down the layers of layers.mjs. Exits with 1 and a line for each that does not.
//   node scripts/check_includes.mjs [--root FOLDER]    FOLDER holds native/
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { nativeLayers, violation } from './layers.mjs';
import { root as here } from './stale.mjs';

const { values } = parseArgs({ options: { root: { type: 'string', default: here } } });
const native = path.join(values.root, 'native');

// runner/ is a second top: it may include everything but binding/, and nobody includes it.
const [binding, ...belowBinding] = nativeLayers;
const layersFor = (from) =>
  from === 'runner' ? [binding, 'runner', ...belowBinding] : ['runner', ...nativeLayers];

function problemOf(file, style, header) {
  const from = file.split('/')[0];
  if (style === '<') {
    const isNodeApi = /^(?:napi|node_api|js_native_api|uv)\b/.test(header);
    return isNodeApi && from !== 'binding' ? `<${header}>: only binding/ knows Node-API` : null;
  }
  if (!existsSync(path.join(native, header))) {
    return `"${header}": not a file of native/ (ours are written relative to native/, others as <${header}>)`;
  }
  const problem = violation(layersFor(from), from, header.split('/')[0]);
  return problem && `"${header}": ${problem}`;
}

let files = 0;
const problems = [];
for (const entry of readdirSync(native, { withFileTypes: true, recursive: true })) {
  if (!entry.isFile() || !/\.(?:cc|h|cu|cuh)$/.test(entry.name)) continue;
  files++;
  const file = path.relative(native, path.join(entry.parentPath, entry.name));
  const lines = readFileSync(path.join(native, file), 'utf8').split('\n');
  lines.forEach((line, index) => {
    const match = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/.exec(line);
    const problem = match && problemOf(file, match[1], match[2]);
    if (problem) problems.push(`native/${file}:${index + 1}: ${problem}`);
  });
}

for (const problem of problems) console.error(problem);
console.log(`${files} native files, ${problems.length} includes against the layers`);
process.exitCode = problems.length > 0 ? 1 : 0;
