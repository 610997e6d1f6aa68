// A process that makes a model, reports that, and trains some steps for each line on its input: a peer of lib/measure.mjs.
//   node memory_subject.mjs '{"device": "cuda", "precision": "bf16", "rows": 8, "shape": {…}}'
import readline from 'node:readline';
import { Model, Trainer } from 'tesserae';
import { configOf, randomBatch } from './models.mjs';

const { device, precision, rows, shape } = JSON.parse(process.argv[2]);
const model = await Model.create(configOf(shape), { device, precision, seed: 1 });
const trainer = new Trainer(model, { arguments: { maxSteps: 1000, learningRate: 1e-4 } });
const batch = randomBatch(rows, shape);
console.log(JSON.stringify({ name: 'tesserae' }));
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
while (!(await lines.next()).done) {
  const start = performance.now();
  for (let step = 0; step < 5; step++) await trainer.step(batch);
  console.log((performance.now() - start) / 1000);
}
model.dispose();
