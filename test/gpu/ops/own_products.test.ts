import type { Precision } from '../../../lib/native';
import { runGraph } from '../../oracles/graph';
import { atStart } from '../../oracles/philox';
import type { Tensor } from '../../oracles/tensor';
import { caseFile } from '../../unit/support/case_file';
import {
  linearCase,
  linearCrossEntropyCase,
  mlpsCase,
  NODE,
  normedLinearCase,
  type OperationCase,
} from '../../unit/support/cases';
import { relativeError } from '../../unit/support/compare';
import { SEED } from '../../unit/support/native';
import { opRun } from '../../unit/support/op_run';
import { isHalf, roundTo } from '../../unit/support/rounding';
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

/** Weight gradients over so many rows that Hopper's kernel cuts them into slices, whose sums it adds in order. */
const manyRows = [linearCase({ rows: 3, time: 1367, nIn: 24, nOut: 40, bias: true })];

/**
 * Layers whose biases get their gradients from the call before. Hopper's kernel sums those of mlpsCase: over rows of a part of
 * a tile, of one pair of tiles and of two.
 */
const layers = [
  mlpsCase({ rows: 1, time: 19, nEmbd: 24, nInner: 203, function: 'gelu_new', pairs: 1 }),
  mlpsCase({ rows: 2, time: 128, nEmbd: 37, nInner: 200, function: 'relu', pairs: 1 }),
  mlpsCase({ rows: 3, time: 107, nEmbd: 40, nInner: 64, function: 'silu', pairs: 2 }),
  // The backward kernel of a norm sums them: a row a block, several, and rows of more than 2,048 columns.
  normedLinearCase({ rows: 2, time: 13, nIn: 24, nOut: 69 }),
  normedLinearCase({ rows: 7, time: 1021, nIn: 8, nOut: 69 }),
  normedLinearCase({ rows: 3, time: 5, nIn: 16, nOut: 2100 }),
];

/** Several operations: of the error of the plain program, which rounds what it keeps, as much as in whole models. */
function layersTolerance(one: OperationCase, precision: Precision): (name: string, exact: Tensor) => number {
  if (precision === 'fp32') return () => 1e-5;
  if (precision === 'tf32') return () => 4e-3;
  const plain = runGraph(one.graph, one.given, new Map([[NODE, one.given.get('dy')!]]), {
    train: true,
    random: atStart(SEED),
    round: roundTo[precision],
  });
  return (name, exact) => {
    const result = (name === 'value' ? plain.values.get(NODE) : plain.gradients.get(name))!;
    return Math.max(1e-4, 3.5 * relativeError(result.data, exact.data));
  };
}

const PRECISIONS: Precision[] = ['fp32', 'tf32', 'bf16', 'fp16'];
const KERNELS = ['own', 'sm80'];

test.each(KERNELS.flatMap((kernels) => PRECISIONS.map((precision) => [kernels, precision] as const)))(
  '%s, %s',
  (kernels, precision) => {
    const run = isHalf(precision) ? [...cases, ...manyTiles, ...manyRows, ...layers] : [...cases, ...layers];
    const contents = run.map((source) => {
      const one = rounded(source, precision);
      const ofLayers = layers.includes(source) ? layersTolerance(one, precision) : undefined;
      return caseFile(one, {
        model: { device: gpu, precision },
        // The sum of a loss is in the same file as its gradients: fp32 sums in nats.
        tolerance:
          ofLayers ??
          ((name, exact) =>
            name === 'value' && 'loss' in one.graph.outputs ? 1e-5 : tolerance(one, name, exact, precision)),
        repeat: 1,
      });
    });
    const { lines } = opRun(contents, { TESSERAE_GEMM: kernels });
    expect(lines.filter(({ ok }) => !ok)).toEqual([]);
    expect(lines.map(({ case: name }) => name)).toEqual(run.map(({ name }) => name));
  },
);
