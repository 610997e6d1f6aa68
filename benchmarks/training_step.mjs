// Whole training steps (AdamW, clipping, no dropout) through the public API, beside PyTorch on the same model. Each
// sample is one step, batch given.
import { Model, Trainer } from 'tesserae';
import { machine, measure, peer } from './lib/measure.mjs';

const noDropout = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };

const cases = {
  cpu_step: {
    title: 'Training step on two CPU threads, fp32',
    device: 'cpu',
    precision: 'fp32',
    threads: 2,
    rows: 32,
    shape: { vocabSize: 256, nPositions: 128, nEmbd: 128, nLayer: 5, nHead: 4 },
  },
  gpt2_step: {
    title: 'Training step of GPT-2 124M on one GPU, bf16',
    device: 'cuda',
    precision: 'bf16',
    threads: 1,
    rows: 32,
    shape: { vocabSize: 50257, nPositions: 1024, nEmbd: 768, nLayer: 12, nHead: 12 },
  },
  deep_step: {
    title: 'Training step of 22 layers of 544 (17 heads) on one GPU, bf16',
    device: 'cuda',
    precision: 'bf16',
    threads: 1,
    rows: 128,
    shape: { vocabSize: 256, nPositions: 200, nEmbd: 544, nLayer: 22, nHead: 17 },
  },
};

export const suites = Object.keys(cases);

async function tesserae({ device, precision, threads, rows, shape }) {
  const model = await Model.create(
    { type: 'gpt2', ...shape, ...noDropout },
    { device, precision, seed: 1, threads },
  );
  const trainer = new Trainer(model, { arguments: { maxSteps: 1000, learningRate: 1e-4 } });
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

export async function run(suite, { python, samples }) {
  const one = cases[suite];
  const { title, device, precision, rows, shape } = one;
  const script = new URL('./peers/training_step.py', import.meta.url).pathname;
  const peers = [];
  for (const mode of ['eager', 'compile']) {
    const started = await peer(python, [script, JSON.stringify(one), mode]).catch(() => undefined);
    if (started) peers.push(started);
    else console.error(`${suite}: PyTorch ${mode} did not start`);
  }
  const results = await measure([await tesserae(one), ...peers], { samples });
  const tokens = rows * shape.nPositions;
  return {
    suite,
    title,
    work: `GPT-2 form, ${shape.nLayer} layers, d ${shape.nEmbd}, ${shape.nHead} heads, vocabulary ${shape.vocabSize}, ${rows} × ${shape.nPositions} tokens a step, AdamW, clipping`,
    unit: 'tokens/s',
    machine: machine(device),
    precision,
    rows: results.map(({ name, median, low, high, samples: n }) => ({
      name,
      median: tokens / median,
      low: tokens / high,
      high: tokens / low,
      samples: n,
    })),
  };
}
