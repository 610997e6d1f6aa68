// Takes what benchmarks/run.mjs printed, or the JSON files of benchmarks/gemm.mjs and benchmarks/alignment.mjs, on standard input,
// into benchmarks/results.jsonl (a suite's result replaces its earlier one), and writes what shows results: RESULTS.md, the
// README's tables, docs/matrix_products.md and pictures in docs/images. Products must be a GPU's.
//   node benchmarks/run.mjs [suite …] | node benchmarks/report.mjs
//   cat gemm.jsonl alignment.jsonl | node benchmarks/report.mjs
//   node benchmarks/report.mjs --check       whether all of these are what results.jsonl gives
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { groupRuns, productsResult, requireGpu } from './lib/gemm_results.mjs';
import { withPictures } from './lib/products_page.mjs';
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
const pictures = values.check
  ? {}
  : await takeIn(parse(readFileSync(0, 'utf8'))).catch((error) => {
      console.error(error.message);
      process.exit(1);
    });

/** Takes new lines into the results. Returns the pictures of those of products: file names in docs/images and their texts. */
async function takeIn(lines) {
  const { runs, others } = groupRuns(lines);
  for (const result of others) {
    delete result.calls; // of a profile: for whoever looks at that run
    if (result.kind === 'alignment') requireGpu(result);
    results.set(result.suite, result);
  }
  const measured = runs.map(({ run, products }) => ({
    run,
    products,
    result: productsResult(run, products),
  }));
  for (const { result } of measured) results.set(result.suite, result);
  const alignment = others.find(({ kind }) => kind === 'alignment');
  if (measured.length === 0 && !alignment) return {};
  // They need a build, what else happens here does not.
  const { productPictures } = await import('./lib/product_pictures.mjs');
  return productPictures({ alignment, runs: measured });
}

const all = [...results.values()];
const readme = readFileSync(place('../README.md'), 'utf8');
const files = {
  './results.jsonl': all.map((result) => `${JSON.stringify(result)}\n`).join(''),
  './RESULTS.md': resultsPage(all),
  '../README.md': withTables(readme, all),
  '../docs/matrix_products.md': withPictures(readFileSync(place('../docs/matrix_products.md'), 'utf8'), all),
  '../docs/images/speed.svg': speedChart(all),
  ...Object.fromEntries(Object.entries(pictures).map(([name, text]) => [`../docs/images/${name}`, text])),
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
