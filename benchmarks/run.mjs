// Runs benchmark suites (cpu_step unless named; gpt2_step, deep_step and operations need a GPU) and prints one JSON line each;
// `node benchmarks/report.mjs` makes RESULTS.md of such lines.
//   node benchmarks/run.mjs [suite …] [--python python3] [--samples 20]
import { parseArgs } from 'node:util';
import * as operations from './operations.mjs';
import * as steps from './training_step.mjs';

const suites = [...steps.suites, ...operations.suites];

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
  const { run } = operations.suites.includes(suite) ? operations : steps;
  console.log(JSON.stringify(await run(suite, { python: values.python, samples: Number(values.samples) })));
}
