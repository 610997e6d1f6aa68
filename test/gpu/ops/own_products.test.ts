import type { Precision } from '../../../lib/native';
import { caseFile } from '../../unit/support/case_file';
import { linearCase, linearCrossEntropyCase } from '../../unit/support/cases';
import { opRun } from '../../unit/support/op_run';
import { isHalf } from '../../unit/support/rounding';
import { tolerance } from '../support/gates';
import { gpu } from '../support/gpu';
import { rounded } from '../support/rounded';

/**
 * Matrix products without cuBLASLt, by the kernels for this chip and by those for an A100. A process chooses once, so op_run
 * runs with that choice.
 */

const cases = [
  linearCase({ rows: 1, time: 1, nIn: 8, nOut: 16, bias: false }),
  linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
  linearCase({ rows: 1, time: 113, nIn: 545, nOut: 203, bias: true }),
  linearCase({ rows: 1, time: 1023, nIn: 24, nOut: 40, bias: true }),
  linearCrossEntropyCase({ rows: 3, time: 37, vocabSize: 250, nEmbd: 61, ignored: true }),
  // Targets more than 66 below the largest logit, which Hopper's kernel in bf16 computes once more.
  linearCrossEntropyCase({ rows: 2, time: 67, vocabSize: 250, nEmbd: 61, ignored: true, spread: 32 }),
];

/** More pairs of tiles of Hopper's kernels, 256 × 192, than it runs at a time: forward and for the gradient of x. */
const manyTiles = [
  linearCase({ rows: 1, time: 8, nIn: 16, nOut: 12872, bias: true }),
  linearCase({ rows: 1, time: 8, nIn: 12872, nOut: 16, bias: true }),
];

const PRECISIONS: Precision[] = ['fp32', 'tf32', 'bf16', 'fp16'];
const KERNELS = ['own', 'sm80'];

test.each(KERNELS.flatMap((kernels) => PRECISIONS.map((precision) => [kernels, precision] as const)))(
  '%s, %s',
  (kernels, precision) => {
    const run = isHalf(precision) ? [...cases, ...manyTiles] : cases;
    const contents = run.map((source) => {
      const one = rounded(source, precision);
      return caseFile(one, {
        model: { device: gpu, precision },
        // The sum of a loss is in the same file as its gradients: fp32 sums in nats.
        tolerance: (name, exact) =>
          name === 'value' && 'loss' in one.graph.outputs ? 1e-5 : tolerance(one, name, exact, precision),
        repeat: 1,
      });
    });
    const { lines } = opRun(contents, { TESSERAE_GEMM: kernels });
    expect(lines.filter(({ ok }) => !ok)).toEqual([]);
    expect(lines.map(({ case: name }) => name)).toEqual(run.map(({ name }) => name));
  },
);
