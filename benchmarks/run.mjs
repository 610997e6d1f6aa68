// Runs benchmark suites (cpu_step unless named; gpt2_step and deep_step need a GPU) and prints one JSON line each;
// `node benchmarks/report.mjs` makes RESULTS.md of such lines.
//   node benchmarks/run.mjs [suite …] [--python python3] [--samples 20]
import { parseArgs } from 'node:util';
import { run, suites } from './training_step.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    samples: { type: 'string', default: '20' },
  },
});

for (const suite of positionals.length > 0 ? positionals : ['cpu_step']) {
  if (!suites.includes(suite)) {
    console.error(`unknown suite '${suite}': use ${suites.join(', ')}`);
    process.exit(2);
  }
  console.log(JSON.stringify(await run(suite, { python: values.python, samples: Number(values.samples) })));
}
