import { devices, type Precision } from '../../lib/native';
import type { Tensor } from '../oracles/tensor';
import {
  activationCase,
  addCase,
  attentionCase,
  crossEntropyCase,
  dropoutCase,
  embeddingCase,
  layerNormCase,
  linearCase,
  logSoftmaxCase,
  positionEmbeddingCase,
  type OperationCase,
} from '../unit/support/cases';
import { fp32Tolerance } from '../unit/support/compare';
import { checkCase } from '../unit/support/native';

/** Every operation on a GPU against the fp64 oracles, on inputs that are rounded to the precision's type. */
const cases: OperationCase[] = [
  linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
  linearCase({ rows: 1, time: 1, nIn: 8, nOut: 16, bias: false }),
  linearCase({ rows: 2, time: 113, nIn: 545, nOut: 200, bias: true }),
  ...['gelu', 'gelu_new', 'relu', 'silu', 'tanh'].map((name) =>
    activationCase({ rows: 3, time: 5, nEmbd: 37, name }),
  ),
  layerNormCase({ rows: 17, time: 1, nEmbd: 64, bias: true }),
  layerNormCase({ rows: 113, time: 1, nEmbd: 545, bias: true }),
  layerNormCase({ rows: 3, time: 43, nEmbd: 31, bias: true, residual: true }),
  layerNormCase({ rows: 2, time: 3, nEmbd: 1600, bias: false }),
  attentionCase({ rows: 2, time: 19, heads: 3, headDim: 20, causal: true }),
  attentionCase({ rows: 1, time: 1, heads: 1, headDim: 8, causal: true }),
  attentionCase({ rows: 2, time: 199, heads: 2, headDim: 64, causal: true }),
  attentionCase({ rows: 3, time: 67, heads: 2, headDim: 68, causal: false, lengths: true }),
  attentionCase({ rows: 2, time: 33, heads: 2, headDim: 32, causal: true, dropout: 0.2 }),
  embeddingCase({ rows: 3, time: 31, vocabSize: 12, nEmbd: 9, addend: true }),
  embeddingCase({ rows: 2, time: 199, vocabSize: 1000, nEmbd: 48 }),
  positionEmbeddingCase({ rows: 3, time: 7, positions: 11, nEmbd: 40 }),
  addCase({ rows: 3, time: 5, nEmbd: 37 }),
  dropoutCase({ rows: 3, time: 5, nEmbd: 37, p: 0.3 }),
  crossEntropyCase({ rows: 3, time: 7, vocabSize: 250, ignored: true }),
  crossEntropyCase({ rows: 1, time: 33, vocabSize: 5000, ignored: false }),
];

const gpu = devices().find(({ kind }) => kind === 'cuda');

test('there is a GPU', () => {
  expect(gpu).toBeDefined();
});

/** bfloat16, rounded to nearest even. */
function bfloat16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return new Float32Array(Uint32Array.of((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000).buffer)[0]!;
}

function rounded(one: OperationCase, precision: Precision): OperationCase {
  if (precision !== 'bf16') return one;
  const floats = new Set([...one.differentiable, 'dy']);
  const round = (tensor: Tensor): Tensor => ({ shape: tensor.shape, data: tensor.data.map(bfloat16) });
  const given = new Map(
    [...one.given].map(([name, tensor]) => [name, floats.has(name) ? round(tensor) : tensor]),
  );
  return { ...one, given };
}

// fp32: the order of sums differs from the CPU's, so four times its bound. bf16: the rounding floor of the results is
// 1.7e-3 in relative Frobenius norm; attention rounds its probabilities and their gradients too.
const tolerance = (one: OperationCase, precision: Precision): number =>
  precision === 'fp32' ? 4 * fp32Tolerance(one.terms) : one.name.startsWith('attention') ? 6e-3 : 2.5e-3;

describe.each(['fp32', 'bf16'] as const)('%s', (precision) => {
  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_, one) => {
    await checkCase(rounded(one, precision), {
      device: gpu!.name,
      precision,
      tolerance: tolerance(one, precision),
    });
  });

  test('log_softmax', async () => {
    const one = logSoftmaxCase({ rows: 3, time: 5, vocabSize: 250 });
    await checkCase(rounded(one, precision), {
      device: gpu!.name,
      precision,
      tolerance: tolerance(one, precision),
      eval: true,
    });
  });
});
