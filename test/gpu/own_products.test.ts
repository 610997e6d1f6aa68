import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Precision } from '../../lib/native';
import { caseFile } from '../unit/support/case_file';
import { linearCase, linearCrossEntropyCase } from '../unit/support/cases';
import { gpu, tolerance } from './support/gates';
import { rounded } from './support/rounded';

/** Matrix products without cuBLASLt: a process decides once, so op_run is one without it. */

const RUNNER = path.resolve(__dirname, '../../build/op_run');

const cases = [
  linearCase({ rows: 1, time: 1, nIn: 8, nOut: 16, bias: false }),
  linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
  linearCase({ rows: 1, time: 113, nIn: 545, nOut: 203, bias: true }),
  linearCase({ rows: 1, time: 1023, nIn: 24, nOut: 40, bias: true }),
  linearCrossEntropyCase({ rows: 3, time: 37, vocabSize: 250, nEmbd: 61, ignored: true }),
];

test.each<Precision>(['fp32', 'tf32', 'bf16', 'fp16'])('%s', (precision) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'own-products-'));
  try {
    const files = cases.map((source, index) => {
      const one = rounded(source, precision);
      const content = caseFile(one, {
        model: { device: gpu, precision },
        // The sum of a loss is in the same file as its gradients: fp32 sums in nats.
        tolerance: (name, exact) =>
          name === 'value' && 'loss' in one.graph.outputs ? 1e-5 : tolerance(one, name, exact, precision),
        repeat: 1,
      });
      const file = path.join(folder, `${index}.json`);
      writeFileSync(file, JSON.stringify(content));
      return file;
    });
    const env = { ...process.env, TESSERAE_GEMM: 'own' };
    const { stdout } = spawnSync(RUNNER, files, { encoding: 'utf8', maxBuffer: 1 << 26, env });
    const lines = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { case: string; ok: boolean; checks?: unknown; message?: string });
    expect(lines.filter(({ ok }) => !ok)).toEqual([]);
    expect(lines.map(({ case: name }) => name)).toEqual(cases.map(({ name }) => name));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
