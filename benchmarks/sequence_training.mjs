// The cost of reading batches from a JSONL file during training: steps on sequences compared with steps on one batch in
// memory. GPT-2 124M, bf16, 32 rows of 1,024 positions; needs a GPU. Prints one JSON line for
// each way of batching.
//   node benchmarks/sequence_training.mjs [--steps 40] [--repeats 3]
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Model, openSequences, Trainer } from 'tesserae';
import { configOf, gpt2, small } from './lib/models.mjs';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '40' },
    repeats: { type: 'string', default: '3' },
    device: { type: 'string', default: 'cuda' },
  },
});
const [steps, repeats] = [Number(values.steps), Number(values.repeats)];
const shape = values.device === 'cpu' ? small : gpt2;
const warmUp = 10;
const rows = values.device === 'cpu' ? 8 : 32;
const { nPositions: blockSize, vocabSize } = shape;

const folder = await mkdtemp(path.join(tmpdir(), 'tesserae-bench-'));
const file = path.join(folder, 'sequences.jsonl');
const line = () => {
  const length = Math.round(16 * (blockSize / 16) ** Math.random());
  return `${JSON.stringify({ tokens: Array.from({ length }, () => Math.floor(Math.random() * vocabSize)) })}\n`;
};
await writeFile(file, Array.from({ length: 20_000 }, line).join(''));
const model = await Model.create(configOf(shape), { device: values.device, seed: 1 });

/** Milliseconds of a step, after some that warm up. */
async function stepTime(train) {
  const maxSteps = warmUp + steps;
  const trainer = new Trainer(model, {
    train,
    arguments: { maxSteps, batchSize: rows, loggingSteps: warmUp },
  });
  let started;
  for await (const event of trainer) {
    if (event.type === 'step' && event.step === warmUp) started = performance.now();
    if (event.type === 'step' && event.step === maxSteps) return (performance.now() - started) / steps;
  }
}

const median = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];

for (const batching of ['pad', 'pack']) {
  const data = await openSequences(file, { vocabSize, blockSize, batching, validationFraction: 0 });
  const one = await data.train.batch({ seed: 1, step: 0, microStep: 0, rows });
  const still = { blockSize, batch: async () => one };
  const times = { still: [], sequences: [] };
  for (let i = 0; i < repeats; i++) {
    times.still.push(await stepTime(still));
    times.sequences.push(await stepTime(data.train));
  }
  const [before, after] = [median(times.still), median(times.sequences)];
  console.log(
    JSON.stringify({ batching, stillMs: before, sequencesMs: after, cost: after / before - 1, times }),
  );
  await data.close();
}
model.dispose();
await rm(folder, { recursive: true });
