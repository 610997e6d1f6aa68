// Measures how late JavaScript's timers are while `tesserae train` shows progress, evaluates and saves: the delay of a server
// in the same process.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { machine } from './lib/measure.mjs';
import { configOf, gpt2, small } from './lib/models.mjs';

const cases = {
  event_loop: {
    title: 'Delay of the event loop while training, two CPU threads',
    work: 'The demo’s model (1 M parameters), 16 × 128 tokens a step, 600 steps, 3 evaluations, 3 checkpoints',
    device: 'cpu',
    model: configOf(small),
    training: { maxSteps: 600, batchSize: 16, learningRate: 1e-3, evalSteps: 200, saveSteps: 200 },
    flags: ['--threads', '2'],
  },
  event_loop_gpu: {
    title: 'Delay of the event loop while training, one GPU',
    work: 'GPT-2 124M, bf16, 8 × 1024 tokens a step, 300 steps, 3 evaluations, 3 checkpoints',
    device: 'cuda',
    model: configOf({ ...gpt2, vocabSize: 256 }),
    training: { maxSteps: 300, batchSize: 8, learningRate: 1e-4, evalSteps: 100, saveSteps: 100 },
    flags: [],
  },
};

export const suites = Object.keys(cases);

/** Words of random letters: 8 MB. */
function text() {
  const bytes = Buffer.alloc(8e6);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.random() < 0.18 ? 32 : 97 + Math.random() * 26;
  return bytes;
}

export function run(suite) {
  const { title, work, device, model, training, flags } = cases[suite];
  const folder = mkdtempSync(path.join(tmpdir(), 'event-loop-'));
  try {
    const [data, report] = ['book.txt', 'delay.json'].map((name) => path.join(folder, name));
    writeFileSync(data, text());
    const config = { model, data: { text: data, validationFraction: 0.01 }, training };
    writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config));
    const probe = path.join(import.meta.dirname, 'lib/event_loop_probe.mjs');
    const { status, stderr } = spawnSync(
      process.execPath,
      [probe, 'train', 'config.json', '--device', device, ...flags, '--output-dir', path.join(folder, 'run')],
      { cwd: folder, env: { ...process.env, EVENT_LOOP_REPORT: report }, encoding: 'utf8', maxBuffer: 1e9 },
    );
    if (status !== 0)
      throw new Error(`${suite}: tesserae train ended with ${status}: ${stderr.slice(-2000)}`);
    return {
      suite,
      kind: 'delay',
      title,
      work,
      machine: machine(device),
      rows: [{ name: 'JavaScript’s timers', ...JSON.parse(readFileSync(report, 'utf8')) }],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
