// Runs benchmark suites (cpu_step unless named; all others need a GPU) and prints one JSON line each;
// `node benchmarks/report.mjs` makes RESULTS.md of such lines.
//   node benchmarks/run.mjs [suite …] [--python python3] [--tfjs FOLDER] [--samples 20]
// With --tfjs, cpu_step also measures the TensorFlow.js that is installed in FOLDER (see peers/tfjs_step.mjs).
import { parseArgs } from 'node:util';
import * as eventLoop from './event_loop.mjs';
import * as memory from './memory.mjs';
import * as operations from './operations.mjs';
import * as sampling from './sampling.mjs';
import * as stepProfile from './step_profile.mjs';
import * as trainingStep from './training_step.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    tfjs: { type: 'string' },
    samples: { type: 'string', default: '20' },
  },
});

const suites = {
  ...Object.fromEntries(
    trainingStep.suites.map((suite) => [suite, (options) => trainingStep.run(suite, options)]),
  ),
  ...Object.fromEntries(sampling.suites.map((suite) => [suite, (options) => sampling.run(suite, options)])),
  ...Object.fromEntries(eventLoop.suites.map((suite) => [suite, () => eventLoop.run(suite)])),
  operations: operations.run,
  step_profile: stepProfile.run,
  memory: memory.run,
};

for (const suite of positionals.length > 0 ? positionals : ['cpu_step']) {
  if (!Object.hasOwn(suites, suite)) {
    console.error(`unknown suite '${suite}': use ${Object.keys(suites).join(', ')}`);
    process.exit(2);
  }
  console.log(
    JSON.stringify(
      await suites[suite]({ python: values.python, tfjs: values.tfjs, samples: Number(values.samples) }),
    ),
  );
}
