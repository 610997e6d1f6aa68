// A whole training step on the CPU: the demo's model (byte level, 5 layers, d 128, T 128, B 32) beside PyTorch, fp32,
// AdamW and clipping. Each sample is one step through the public API, batch given.
import { Model, Trainer } from 'tesserae';
import { machine, measure, peer } from './lib/measure.mjs';

const shape = { vocabSize: 256, nPositions: 128, nEmbd: 128, nLayer: 5, nHead: 4 };
const rows = 32;
const threads = 2;

async function tesserae() {
  const model = await Model.create(
    { type: 'gpt2', ...shape, residPdrop: 0, embdPdrop: 0, attnPdrop: 0 },
    { device: 'cpu', seed: 1, threads },
  );
  const trainer = new Trainer(model, { arguments: { maxSteps: 1000, learningRate: 1e-3 } });
  const random = () =>
    Array.from({ length: rows }, () =>
      Int32Array.from({ length: shape.nPositions }, () => Math.floor(Math.random() * shape.vocabSize)),
    );
  const batch = { tokens: random(), targets: random() };
  return {
    name: 'tesserae',
    async sample() {
      const start = performance.now();
      await trainer.step(batch);
      return (performance.now() - start) / 1000;
    },
    close() {
      model.dispose();
    },
  };
}

export async function run({ python, samples }) {
  const script = new URL('./peers/cpu_step.py', import.meta.url).pathname;
  const settings = JSON.stringify({ ...shape, rows, threads });
  const subjects = [await tesserae(), await peer(python, [script, settings, 'eager'])];
  const compiled = await peer(python, [script, settings, 'compile']).catch(() => undefined);
  if (compiled) subjects.push(compiled);
  const results = await measure(subjects, { samples });
  const tokens = rows * shape.nPositions;
  return {
    suite: 'cpu_step',
    title: 'Training step on two CPU threads, fp32',
    work: `GPT-2 form, ${shape.nLayer} layers, d ${shape.nEmbd}, ${shape.nHead} heads, vocabulary ${shape.vocabSize}, ${rows} × ${shape.nPositions} tokens a step, AdamW, clipping`,
    unit: 'tokens/s',
    machine: machine(),
    rows: results.map(({ name, median, low, high, samples: n }) => ({
      name,
      median: tokens / median,
      low: tokens / high,
      high: tokens / low,
      samples: n,
    })),
  };
}
