// Where the time of a training step of GPT-2 124M goes, by kind of operation, compared with PyTorch's compiled step.
import { spawnSync } from 'node:child_process';
import { Model } from 'tesserae';
import { profileTraining } from '../dist/cli/profile.js';
import { sumKinds } from '../dist/report/profile.js';
import { machine } from './lib/measure.mjs';
import { configOf, gpt2, randomBatch } from './lib/models.mjs';

const one = { device: 'cuda', precision: 'bf16', threads: 1, rows: 64, shape: gpt2 };

function pytorch(python) {
  const script = new URL('./peers/step_profile.py', import.meta.url).pathname;
  const { status, stdout } = spawnSync(python, [script, JSON.stringify(one)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`the profile of PyTorch failed (${python} ended with ${status})`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

export async function run({ python }) {
  const { device, precision, rows, shape } = one;
  const peer = pytorch(python);
  const model = await Model.create(configOf(shape), { device, precision, seed: 1 });
  const batch = randomBatch(rows, shape);
  const data = { blockSize: shape.nPositions, batch: async () => batch };
  const profile = await profileTraining(model, data, { maxSteps: 1000, batchSize: rows, learningRate: 1e-4 });
  model.dispose();
  return {
    suite: 'step_profile',
    kind: 'profile',
    title: 'Where the time of a training step goes: GPT-2 124M on one GPU, bf16',
    work: `${rows} × ${shape.nPositions} tokens a step, AdamW, clipping; tesserae's cross-entropy is part of its last product`,
    machine: machine(device),
    peer: peer.name,
    rows: sumKinds(profile.calls).map(({ name, seconds, plannedSeconds }) => ({
      name,
      seconds,
      plannedSeconds,
      peerSeconds: peer.kinds[name] ?? 0,
    })),
    step: {
      seconds: profile.stepSeconds,
      plannedSeconds: profile.plannedSeconds,
      peerSeconds: peer.stepSeconds,
    },
    calls: profile.calls,
  };
}
