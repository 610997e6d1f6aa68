// Runs benchmark suites and prints one JSON line each; `node benchmarks/report.mjs` makes RESULTS.md of such lines.
//   node benchmarks/run.mjs [suite …] [--python python3] [--samples 20]
import { parseArgs } from 'node:util';

const suites = ['cpu_step'];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    samples: { type: 'string', default: '20' },
  },
});

for (const suite of positionals.length > 0 ? positionals : suites) {
  if (!suites.includes(suite)) {
    console.error(`unknown suite '${suite}': use ${suites.join(', ')}`);
    process.exit(2);
  }
  const { run } = await import(`./${suite}.mjs`);
  console.log(JSON.stringify(await run({ python: values.python, samples: Number(values.samples) })));
}
