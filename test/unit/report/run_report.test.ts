import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { withoutAppends } from '../support/full_disk';
import { RunReport } from '../../../lib/report/run_report';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'report-'));
});
afterEach(() => rm(folder, { recursive: true }));

const step = (n: number) => ({
  type: 'step' as const,
  step: n,
  loss: 5 - n,
  tokensPerSecond: 1000,
  etaSeconds: 3,
  gradNorm: 1,
});

it('leaves metrics and a loss curve in a folder that it makes', async () => {
  const directory = path.join(folder, 'runs', 'a<b');
  const report = await RunReport.create({ directory, maxSteps: 2, progress: false });
  for (const n of [1, 2]) report.add(step(n));
  report.add({ type: 'evaluate', step: 2, loss: 3.5 });
  report.add(
    Object.assign({ type: 'end' as const, step: 2 }, { evaluation: { loss: 3.5 }, reason: 'maxSteps' }),
  );
  expect(report.lossCurve()).toContain('training loss');
  await report.close();
  const lines = (await readFile(report.metricsPath, 'utf8')).trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { type: 'step', step: 1, loss: 4, tokens_per_second: 1000, eta_seconds: 3, grad_norm: 1 },
    { type: 'step', step: 2, loss: 3, tokens_per_second: 1000, eta_seconds: 3, grad_norm: 1 },
    { type: 'evaluate', step: 2, loss: 3.5 },
    { type: 'end', step: 2, reason: 'maxSteps' },
  ]);
  const svg = await readFile(path.join(directory, 'loss.svg'), 'utf8');
  expect(svg).toContain('a&lt;b</text>');
  expect(svg.match(/<circle/g)).toHaveLength(1);
});

it('shows evaluations and notes on standard error, unless told not to', async () => {
  const write = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    for (const progress of [true, false]) {
      const report = await RunReport.create({ directory: folder, maxSteps: 2, progress });
      report.log('a note');
      report.add({ type: 'evaluate', step: 2, loss: 3.5 });
      await report.close();
    }
    const text = write.mock.calls.map(([chunk]) => String(chunk)).join('');
    expect(text.match(/a note\n/g)).toHaveLength(1);
    expect(text.match(/step 2 · validation loss 3\.5000\n/g)).toHaveLength(1);
  } finally {
    write.mockRestore();
  }
});

it('does not fail if nothing can be written, but says so', async () => {
  const write = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  const end = await withoutAppends();
  try {
    const report = await RunReport.create({ directory: folder, maxSteps: 2 });
    report.add(step(1));
    await mkdir(report.lossCurvePath);
    await report.close();
    const lines = write.mock.calls.map(([chunk]) => String(chunk)).filter((text) => text.includes('warning'));
    expect(lines).toEqual([
      expect.stringMatching(/metrics\.jsonl' can't be written \(ENOSPC/),
      expect.stringMatching(/metrics\.jsonl' lacks 1 entries/),
      expect.stringMatching(/loss\.svg' can't be written: E/),
    ]);
  } finally {
    end();
    write.mockRestore();
  }
});

it('continues the metrics and the curve of a resumed run', async () => {
  const directory = folder;
  const first = await RunReport.create({ directory, maxSteps: 3, progress: false });
  for (const n of [1, 2, 3]) first.add(step(n));
  first.add({ type: 'evaluate', step: 2, loss: 3.5 });
  await first.close();
  const resumed = { step: 2, path: 'checkpoint-2' };
  for (let i = 0; i < 2; i++) {
    const report = await RunReport.create({ directory, maxSteps: 3, progress: false, resumed });
    report.add(step(3));
    await report.close();
    const lines = (await readFile(report.metricsPath, 'utf8')).trimEnd().split('\n');
    const names = lines.map((line) => JSON.parse(line) as { type: string; step: number });
    // The line of the checkpoint had been lost.
    expect(names.map((one) => `${one.type} ${one.step}`)).toEqual([
      'step 1',
      'step 2',
      'evaluate 2',
      'save 2',
      'step 3',
    ]);
    expect((await readFile(report.lossCurvePath, 'utf8')).match(/<circle/g)).toHaveLength(1);
  }
});
