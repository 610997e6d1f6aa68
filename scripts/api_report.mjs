// The public API as text, docs/tesserae.api.md, so that reviews see changes. `npm run api` writes it; `npm run api:check`
// compares it with the declarations in dist/ and fails if they differ.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor';

import { root } from './stale.mjs';

const check = process.argv.includes('--check');
const config = ExtractorConfig.loadFileAndPrepare(path.join(root, 'api-extractor.json'));
const errors = [];
Extractor.invoke(config, {
  localBuild: false, // it compares and does not write: the text below is not quite its own
  messageCallback: (message) => {
    if (message.logLevel === 'error') errors.push(message.text);
    message.handled = true;
  },
});
if (errors.length > 0) {
  console.error(errors.join('\n'));
  process.exit(1);
}

const report = path.relative(root, config.reportFilePath);
const read = (file) => readFileSync(file, 'utf8').replaceAll('\r\n', '\n');

// Docstrings are not part of the API, and TypeDoc reports missing ones.
const declared = read(config.reportTempFilePath)
  .replace(/^ *\/\/ \(undocumented\)\n/gm, '')
  .replaceAll(' (undocumented)', '');

/** The lines that one text has and another lacks, counting repeated lines. */
function missing(from, others) {
  const left = [...others];
  return from.filter((line) => {
    const at = left.indexOf(line);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

if (!check) {
  writeFileSync(config.reportFilePath, declared);
  console.log(`wrote ${report}`);
} else {
  const committed = read(config.reportFilePath);
  if (committed !== declared) {
    const [before, now] = [committed.split('\n'), declared.split('\n')];
    for (const line of missing(before, now)) console.error(`- ${line}`);
    for (const line of missing(now, before)) console.error(`+ ${line}`);
    console.error(
      `\nThe public API is not what ${report} says. If you intended that, run 'npm run api', look at the difference, and add ` +
        "what users notice of it with 'npx changeset' (a break is major).",
    );
    process.exit(1);
  }
  console.log(`${report} is what dist/ declares`);
}
