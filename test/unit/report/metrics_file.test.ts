import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
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

it('overwrites an old file', async () => {
  const file = path.join(folder, 'metrics.jsonl');
  for (const step of [1, 2]) {
    const metrics = await MetricsFile.create(file);
    metrics.write({ step });
    await metrics.close();
  }
  expect(await readFile(file, 'utf8')).toBe('{"step":2}\n');
});

it('fails if the folder is missing', async () => {
  await expect(MetricsFile.create(path.join(folder, 'no', 'metrics.jsonl'))).rejects.toMatchObject({
    code: 'ERR_CONFIG',
    message: expect.stringContaining('ENOENT') as string,
  });
});

describe('of a run that is resumed', () => {
  const line = (type: string, step: number): string => `{"type":"${type}","step":${step},"grad_norm":0.5}\n`;
  const at = (): string => path.join(folder, 'metrics.jsonl');

  it('is cut to the step of the checkpoint, without the end of the run that was', async () => {
    const kept = line('step', 1) + line('step', 2) + line('save', 2);
    await writeFile(at(), kept + line('step', 3) + line('end', 2) + line('evaluate', 4));
    const { file, kept: records } = await MetricsFile.resume(at(), 2);
    expect(records).toHaveLength(3);
    expect(records[0]).toEqual({ type: 'step', step: 1, grad_norm: 0.5 });
    file.write({ type: 'step', step: 3 });
    await file.close();
    expect(await readFile(at(), 'utf8')).toBe(`${kept}{"type":"step","step":3}\n`);
    expect(await readdir(folder)).toEqual(['metrics.jsonl']);
  });

  it.each(['{"type":"step","st', '{"type":"step","step":', 'null', '\0\0\0\0'])(
    'loses a last line that a crash tore: %j',
    async (torn) => {
      await writeFile(at(), line('step', 1) + torn);
      const { file } = await MetricsFile.resume(at(), 9);
      file.write({ type: 'step', step: 2 });
      await file.close();
      expect(await readFile(at(), 'utf8')).toBe(`${line('step', 1)}{"type":"step","step":2}\n`);
    },
  );

  it('is created if it is missing', async () => {
    const { file, kept } = await MetricsFile.resume(at(), 5);
    await file.close();
    expect(kept).toEqual([]);
    expect(await readFile(at(), 'utf8')).toBe('');
  });
});
