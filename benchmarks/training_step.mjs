// Whole training steps (AdamW, clipping, no dropout) through the public API, compared with PyTorch and, on the CPU, with
// TensorFlow.js on the same model. Each sample is one step on a batch that is ready.
import { Model, Trainer } from 'tesserae';
import { machine, measure, peer, perSecond } from './lib/measure.mjs';
import { configOf, deep, gpt2, randomBatch, small } from './lib/models.mjs';

const gpu = { device: 'cuda', threads: 1 };
const gpt2Step = { ...gpu, rows: 32, shape: gpt2 };
const deepStep = { ...gpu, rows: 128, shape: deep };
const gpt2Title = 'Training step of GPT-2 124M on one GPU';
const deepTitle = 'Training step of 22 layers of 544 (17 heads) on one GPU';

const cases = {
  cpu_step: {
    title: 'Training step on two CPU threads, fp32',
    device: 'cpu',
    precision: 'fp32',
    threads: 2,
    rows: 32,
    shape: small,
  },
  gpt2_step: { title: `${gpt2Title}, bf16`, precision: 'bf16', ...gpt2Step },
  gpt2_step_fp16: { title: `${gpt2Title}, fp16`, precision: 'fp16', ...gpt2Step },
  deep_step: { title: `${deepTitle}, bf16`, precision: 'bf16', ...deepStep },
  deep_step_fp16: { title: `${deepTitle}, fp16`, precision: 'fp16', ...deepStep },
};

export const suites = Object.keys(cases);

async function tesserae({ device, precision, threads, rows, shape }) {
  const model = await Model.create(configOf(shape), { device, precision, seed: 1, threads });
  const trainer = new Trainer(model, { arguments: { maxSteps: 1000, learningRate: 1e-4 } });
  const batch = randomBatch(rows, shape);
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

const script = (name) => new URL(`./peers/${name}`, import.meta.url).pathname;

export async function run(suite, { python, tfjs, samples }) {
  const one = cases[suite];
  const { title, device, precision, rows, shape } = one;
  const given = JSON.stringify(one);
  const commands = ['eager', 'compile'].map((mode) => [
    `PyTorch ${mode}`,
    python,
    [script('training_step.py'), given, mode],
  ]);
  if (tfjs !== undefined && device === 'cpu')
    commands.push(['TensorFlow.js', process.execPath, [script('tfjs_step.mjs'), given, tfjs]]);
  const peers = [];
  for (const [name, command, args] of commands) {
    const started = await peer(command, args).catch(() => undefined);
    if (started) peers.push(started);
    else console.error(`${suite}: ${name} did not start`);
  }
  const results = await measure([await tesserae(one), ...peers], { samples });
  const tokens = rows * shape.nPositions;
  return {
    suite,
    kind: 'speed',
    title,
    work: `GPT-2 form, ${shape.nLayer} layers, d ${shape.nEmbd}, ${shape.nHead} heads, vocabulary ${shape.vocabSize}, ${rows} × ${shape.nPositions} tokens a step, AdamW, clipping${precision === 'fp16' ? ', dynamic loss scaling' : ''}`,
    unit: 'tokens/s',
    machine: machine(device),
    precision,
    rows: perSecond(results, tokens),
  };
}
