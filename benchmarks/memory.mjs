// The memory of a training process, as planned and as the driver reports it: the card's used memory before the process starts
// and while it trains. Nothing else may run on the card.
import { spawnSync } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import { buildGraph, resolveModelConfig } from '../dist/models/families.js';
import { devices, plan } from '../dist/native.js';
import { machine, peer } from './lib/measure.mjs';
import { configOf, deep, gpt2 } from './lib/models.mjs';

const cases = [
  { name: 'GPT-2 124M, bf16, 8 × 1024', precision: 'bf16', rows: 8, shape: gpt2 },
  { name: 'GPT-2 124M, bf16, 32 × 1024', precision: 'bf16', rows: 32, shape: gpt2 },
  { name: '22 layers of 544, bf16, 128 × 200', precision: 'bf16', rows: 128, shape: deep },
  { name: '22 layers of 544, fp16, 128 × 200', precision: 'fp16', rows: 128, shape: deep },
];

/** MiB of the first card that are in use. */
function used() {
  const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '--id=0'];
  return Number(spawnSync('nvidia-smi', query, { encoding: 'utf8' }).stdout);
}

/** Waits until an ending process has freed its memory. */
async function idle(before) {
  for (let i = 0; i < 100 && used() > before; i++) await setTimeout(100);
}

/** The memory in use once the previous suite's process has freed its own: it must stay the same for a second. */
async function settled() {
  let before = used();
  for (let same = 0; same < 5;) {
    await setTimeout(200);
    const now = used();
    same = now === before ? same + 1 : 0;
    before = now;
  }
  return before;
}

async function measured(one, before) {
  const script = new URL('./lib/memory_subject.mjs', import.meta.url).pathname;
  const child = await peer(process.execPath, [script, JSON.stringify({ device: 'cuda', ...one })]);
  const created = used() - before;
  await child.sample();
  const trained = used() - before;
  child.close();
  await idle(before);
  return { created, trained };
}

export async function run() {
  const MiB = 2 ** 20;
  const { chip } = (await devices()).find(({ kind }) => kind === 'cuda');
  const before = await settled();
  const rows = [];
  for (const one of cases) {
    const { precision, shape } = one;
    const graph = buildGraph(resolveModelConfig(configOf(shape)));
    const { memory, totalBytes } = plan(graph, {
      chip,
      precision,
      rows: one.rows,
      lengths: { time: shape.nPositions },
    });
    const { created, trained } = await measured(one, before);
    const owners = Object.fromEntries(memory.map(({ owner, bytes }) => [owner, bytes / MiB]));
    rows.push({ name: one.name, planned: totalBytes / MiB, driver: trained, created, owners });
  }
  return {
    suite: 'memory',
    kind: 'memory',
    title: 'Memory of a training process, planned and by the driver',
    work: 'Without dropout; AdamW, clipping; five steps',
    machine: machine('cuda'),
    rows,
  };
}
