// Takes what benchmarks/run.mjs printed, on standard input, into benchmarks/results.jsonl (a suite's result replaces its
// earlier one), and writes what shows results: RESULTS.md, the README's tables and docs/images/speed.svg.
//   node benchmarks/run.mjs [suite …] | node benchmarks/report.mjs
//   node benchmarks/report.mjs --check       whether all of these are what results.jsonl gives
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { withTables } from './lib/readme_tables.mjs';
import { resultsPage } from './lib/results_page.mjs';
import { speedChart } from './lib/speed_chart.mjs';

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });

const place = (name) => new URL(name, import.meta.url);
const stored = place('./results.jsonl');
const parse = (text) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

const results = new Map(parse(readFileSync(stored, 'utf8')).map((result) => [result.suite, result]));
if (!values.check)
  for (const result of parse(readFileSync(0, 'utf8'))) {
    delete result.calls; // of a profile: for whoever looks at that run
    results.set(result.suite, result);
  }

const all = [...results.values()];
const readme = readFileSync(place('../README.md'), 'utf8');
const files = {
  './results.jsonl': all.map((result) => `${JSON.stringify(result)}\n`).join(''),
  './RESULTS.md': resultsPage(all),
  '../README.md': withTables(readme, all),
  '../docs/images/speed.svg': speedChart(all),
};
for (const [name, text] of Object.entries(files)) {
  if (!values.check) writeFileSync(place(name), text);
  else if (readFileSync(place(name), 'utf8') !== text) {
    console.error(
      `${name} is not what benchmarks/results.jsonl gives: run 'node benchmarks/report.mjs < /dev/null'`,
    );
    process.exitCode = 1;
  }
}
