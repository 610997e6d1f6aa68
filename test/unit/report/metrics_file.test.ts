import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MetricsFile } from '../../../lib/report/metrics_file';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'metrics-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('writes one object a line, in snake_case and in order', async () => {
  const file = path.join(folder, 'metrics.jsonl');
  const metrics = await MetricsFile.create(file);
  for (let step = 1; step <= 50; step++) metrics.write({ type: 'step', step, gradNorm: step / 2 });
  metrics.write({ type: 'step', step: 51, loss: NaN, checkpoint: undefined });
  await metrics.close();
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual(
    Array.from({ length: 51 }, (_, i) => i + 1),
  );
  expect(lines[0]).toBe('{"type":"step","step":1,"grad_norm":0.5}');
  expect(lines[50]).toBe('{"type":"step","step":51,"loss":null}');
});

it('starts an old file anew', async () => {
  const file = path.join(folder, 'metrics.jsonl');
  for (const step of [1, 2]) {
    const metrics = await MetricsFile.create(file);
    metrics.write({ step });
    await metrics.close();
  }
  expect(await readFile(file, 'utf8')).toBe('{"step":2}\n');
});

it('fails where the folder is missing', async () => {
  await expect(MetricsFile.create(path.join(folder, 'no', 'metrics.jsonl'))).rejects.toMatchObject({
    code: 'ENOENT',
  });
});
