// The cost of batches of sequences: time per batch on the worker thread, which overlaps with the step, and on JavaScript's
// thread, which a step may have to wait for. 32 rows of up to 1,024 tokens, from a JSONL file of 20,000
// sequences of 16 to 1,024 tokens. Prints one JSON line for each way of batching.
//   node benchmarks/sequence_batches.mjs [--batches 200]
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { openSequences } from 'tesserae';

const { values } = parseArgs({ options: { batches: { type: 'string', default: '200' } } });
const batches = Number(values.batches);
const [sequences, rows, blockSize, vocabSize] = [20_000, 32, 1024, 50_257];

const folder = await mkdtemp(path.join(tmpdir(), 'tesserae-bench-'));
const file = path.join(folder, 'sequences.jsonl');
const stream = createWriteStream(file);
for (let i = 0; i < sequences; i++) {
  const length = Math.round(16 * 64 ** Math.random());
  const tokens = Array.from({ length }, () => Math.floor(Math.random() * vocabSize));
  if (!stream.write(`${JSON.stringify({ tokens })}\n`)) await once(stream, 'drain');
}
stream.end();
await once(stream, 'close');

for (const batching of ['pad', 'pack', 'bucket']) {
  const started = performance.now();
  const data = await openSequences(file, {
    vocabSize,
    blockSize,
    batching,
    validationFraction: 0,
    ...(batching === 'bucket' ? { maxTokens: rows * blockSize } : {}),
  });
  const opened = performance.now();
  let tokens = 0;
  let positions = 0;
  const draw = async (step) => {
    const { lengths, capacity } = await data.train.batch({ seed: 1, step, microStep: 0, rows });
    tokens += lengths.reduce((a, b) => a + b, 0);
    positions += capacity.rows * capacity.lengths.time;
  };
  for (let step = 0; step < 20; step++) await draw(step);
  [tokens, positions] = [0, 0];
  const [before, idle] = [performance.now(), performance.eventLoopUtilization()];
  for (let step = 20; step < 20 + batches; step++) await draw(step);
  const busy = performance.eventLoopUtilization(idle);
  const milliseconds = performance.now() - before;
  console.log(
    JSON.stringify({
      batching,
      openSeconds: (opened - started) / 1000,
      workerMilliseconds: milliseconds / batches,
      javaScriptMilliseconds: busy.active / batches,
      tokensPerBatch: tokens / batches,
      positionsUsed: tokens / positions,
      tokensPerSecond: (1000 * tokens) / milliseconds,
    }),
  );
  await data.close();
}
await rm(folder, { recursive: true });
