import type { Precision } from '../../../lib/native';
import { caseFile } from '../../unit/support/case_file';
import { linearCase, linearCrossEntropyCase } from '../../unit/support/cases';
import { opRun } from '../../unit/support/op_run';
import { tolerance } from '../support/gates';
import { gpu } from '../support/gpu';
import { rounded } from '../support/rounded';

/** Matrix products without cuBLASLt: a process decides once, so op_run is one without it. */

const cases = [
  linearCase({ rows: 1, time: 1, nIn: 8, nOut: 16, bias: false }),
  linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
  linearCase({ rows: 1, time: 113, nIn: 545, nOut: 203, bias: true }),
  linearCase({ rows: 1, time: 1023, nIn: 24, nOut: 40, bias: true }),
  linearCrossEntropyCase({ rows: 3, time: 37, vocabSize: 250, nEmbd: 61, ignored: true }),
];

test.each<Precision>(['fp32', 'tf32', 'bf16', 'fp16'])('%s', (precision) => {
  const contents = cases.map((source) => {
    const one = rounded(source, precision);
    return caseFile(one, {
      model: { device: gpu, precision },
      // The sum of a loss is in the same file as its gradients: fp32 sums in nats.
      tolerance: (name, exact) =>
        name === 'value' && 'loss' in one.graph.outputs ? 1e-5 : tolerance(one, name, exact, precision),
      repeat: 1,
    });
  });
  const { lines } = opRun(contents, { TESSERAE_GEMM: 'own' });
  expect(lines.filter(({ ok }) => !ok)).toEqual([]);
  expect(lines.map(({ case: name }) => name)).toEqual(cases.map(({ name }) => name));
});
