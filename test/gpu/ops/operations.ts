import type { Precision } from '../../../lib/native';
import type { Tensor } from '../../oracles/tensor';
import {
  activationCase,
  addCase,
  attentionCase,
  crossAttentionCase,
  crossEntropyCase,
  dropoutCase,
  embeddingCase,
  lastPositionCase,
  layerNormCase,
  linearCase,
  linearCrossEntropyCase,
  logSoftmaxCase,
  positionEmbeddingCase,
  type OperationCase,
} from '../../unit/support/cases';
import { checkOnGpu } from '../support/gates';

/** Every operation on a GPU in every precision against the fp64 oracles; support/gates.ts has the gates. */

const ACTIVATIONS = ['gelu', 'gelu_new', 'relu', 'silu', 'tanh'];
// Multiples of 16, of 8, of 4 alone; those that fill a tile of 32, 64, 96, 128 or 256 and those that don't.
const HEADS = [8, 20, 32, 64, 68, 72, 96, 128, 160, 256];

/** Documents of one token, and boundaries on and beside multiples of 16, 32 and 64. */
const documents = [[0, 1, 2, 16, 31, 32, 64, 65, 200, 256], [0, 33, 48, 63, 130, 192, 255], [0]];

const withLengths = (one: OperationCase, lengths: readonly number[]): OperationCase => {
  const value: Tensor = { shape: [lengths.length], data: Float64Array.from(lengths) };
  return {
    ...one,
    name: `${one.name} (${lengths.join(', ')})`,
    given: new Map(one.given).set('lengths', value),
  };
};

/** Tensor cores take everything but ranges, which the plain kernel computes in every type. */
const crossAttention: OperationCase[] = [
  crossAttentionCase({ rows: 1, time: 1, keys: 1, heads: 1, kvHeads: 1, headDim: 8, causal: true }),
  ...[8, 20, 64, 68, 72, 96, 128, 256].flatMap((headDim) => [
    crossAttentionCase({ rows: 2, time: 35, keys: 67, heads: 2, kvHeads: 1, headDim, causal: true }),
    // The first 64 queries come before the first key.
    crossAttentionCase({ rows: 1, time: 131, keys: 67, heads: 2, kvHeads: 2, headDim, causal: true }),
    crossAttentionCase({ rows: 2, time: 67, keys: 35, heads: 3, kvHeads: 1, headDim, causal: false }),
    crossAttentionCase({
      rows: 1,
      time: 70,
      keys: 75,
      heads: 2,
      kvHeads: 1,
      headDim,
      causal: true,
      dropout: 0.2,
    }),
  ]),
  ...[true, false].flatMap((causal) => [
    ...[6, 2, 1].map((kvHeads) =>
      crossAttentionCase({ rows: 2, time: 67, keys: 67, heads: 6, kvHeads, headDim: 64, causal }),
    ),
    crossAttentionCase({ rows: 1, time: 70, keys: 3, heads: 1, kvHeads: 1, headDim: 32, causal }),
    crossAttentionCase({ rows: 1, time: 3, keys: 259, heads: 4, kvHeads: 2, headDim: 64, causal }),
    ...[20, 68, 128].map((headDim) =>
      withLengths(
        crossAttentionCase({
          rows: 5,
          time: 67,
          keys: 90,
          heads: 2,
          kvHeads: 1,
          headDim,
          causal,
          lengths: true,
        }),
        [0, 1, 90, 64, 33],
      ),
    ),
    crossAttentionCase({
      rows: 1,
      time: 67,
      keys: 40,
      heads: 3,
      kvHeads: 1,
      headDim: 64,
      causal,
      dropout: 0.5,
    }),
    ...[20, 68, 128, 256].map((headDim, i) =>
      crossAttentionCase({
        rows: 2,
        time: i % 2 ? 90 : 67,
        keys: i % 2 ? 67 : 90,
        heads: 2,
        kvHeads: 1,
        headDim,
        causal,
        ranges: true,
      }),
    ),
    withLengths(
      crossAttentionCase({
        rows: 3,
        time: 67,
        keys: 150,
        heads: 3,
        kvHeads: 1,
        headDim: 64,
        causal,
        lengths: true,
        ranges: true,
        dropout: 0.2,
      }),
      [0, 70, 150],
    ),
  ]),
];

const cases: OperationCase[] = [
  linearCase({ rows: 1, time: 1, nIn: 8, nOut: 16, bias: false }),
  linearCase({ rows: 1, time: 3, nIn: 1, nOut: 1, bias: true }),
  linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
  linearCase({ rows: 1, time: 113, nIn: 545, nOut: 203, bias: true }),
  linearCase({ rows: 1, time: 1023, nIn: 24, nOut: 40, bias: true }),
  linearCase({ rows: 1, time: 129, nIn: 257, nOut: 129, bias: false }),
  ...ACTIVATIONS.map((name) => activationCase({ rows: 3, time: 43, nEmbd: 37, name })),
  layerNormCase({ rows: 17, time: 1, nEmbd: 64, bias: true }),
  layerNormCase({ rows: 2, time: 33, nEmbd: 7, bias: true }),
  layerNormCase({ rows: 113, time: 1, nEmbd: 545, bias: true }),
  layerNormCase({ rows: 1, time: 799, nEmbd: 24, bias: false }),
  // More rows than blocks at a time: a block takes several, one of them on its way meanwhile.
  layerNormCase({ rows: 7, time: 1021, nEmbd: 69, bias: true, residual: true }),
  layerNormCase({ rows: 3, time: 43, nEmbd: 31, bias: true, residual: true }),
  layerNormCase({ rows: 2, time: 3, nEmbd: 1600, bias: false }),
  layerNormCase({ rows: 2, time: 3, nEmbd: 2041, bias: true, residual: true }),
  layerNormCase({ rows: 1, time: 5, nEmbd: 8191, bias: true, residual: true }),
  ...HEADS.map((headDim, i) =>
    attentionCase({ rows: 2, time: 67, heads: 1 + (i % 2), headDim, causal: i % 2 === 0 }),
  ),
  attentionCase({ rows: 1, time: 1, heads: 1, headDim: 8, causal: true }),
  attentionCase({ rows: 1, time: 3, heads: 2, headDim: 32, causal: false }),
  attentionCase({ rows: 1, time: 200, heads: 2, headDim: 68, causal: true }),
  attentionCase({ rows: 1, time: 239, heads: 1, headDim: 128, causal: false }),
  attentionCase({ rows: 1, time: 331, heads: 1, headDim: 64, causal: true }),
  attentionCase({ rows: 1, time: 1023, heads: 1, headDim: 8, causal: true }),
  ...[true, false].map((causal) =>
    withLengths(
      attentionCase({ rows: 5, time: 67, heads: 2, headDim: 68, causal, lengths: true }),
      [0, 1, 67, 64, 33],
    ),
  ),
  attentionCase({ rows: 2, time: 33, heads: 2, headDim: 32, causal: true, dropout: 0.2 }),
  attentionCase({ rows: 1, time: 70, heads: 1, headDim: 96, causal: false, dropout: 0.5 }),
  ...[20, 64, 72, 96, 128, 256].map((headDim, i) =>
    attentionCase({ rows: 2, time: 67, heads: 1, headDim, causal: i % 2 === 1, documents }),
  ),
  ...[true, false].map((causal) =>
    attentionCase({ rows: 2, time: 259, heads: 1, headDim: 64, causal, documents }),
  ),
  withLengths(
    attentionCase({ rows: 5, time: 67, heads: 2, headDim: 68, causal: false, lengths: true, documents }),
    [0, 1, 67, 64, 33],
  ),
  attentionCase({ rows: 2, time: 70, heads: 2, headDim: 32, causal: true, dropout: 0.2, documents }),
  attentionCase({ rows: 1, time: 70, heads: 1, headDim: 128, causal: false, dropout: 0.2, documents }),
  ...crossAttention,
  embeddingCase({ rows: 3, time: 31, vocabSize: 12, nEmbd: 9, addend: true }),
  embeddingCase({ rows: 2, time: 199, vocabSize: 1000, nEmbd: 48 }),
  embeddingCase({ rows: 1, time: 1025, vocabSize: 2, nEmbd: 264 }),
  // Runs of about 32 positions: some lie in a segment of the sorted positions, some in two, some in three.
  embeddingCase({ rows: 3, time: 677, vocabSize: 63, nEmbd: 40 }),
  positionEmbeddingCase({ rows: 3, time: 7, positions: 11, nEmbd: 40 }),
  positionEmbeddingCase({ rows: 67, time: 1, positions: 1, nEmbd: 3 }),
  positionEmbeddingCase({ rows: 19, time: 67, positions: 70, nEmbd: 301, documents }),
  positionEmbeddingCase({ rows: 2, time: 300, positions: 300, nEmbd: 8, documents }),
  lastPositionCase({ rows: 5, time: 33, nEmbd: 61 }),
  addCase({ rows: 3, time: 5, nEmbd: 37 }),
  addCase({ rows: 3, time: 5, nEmbd: 37, same: true }),
  dropoutCase({ rows: 3, time: 43, nEmbd: 37, p: 0.3 }),
  crossEntropyCase({ rows: 1, time: 1, vocabSize: 2, ignored: false }),
  crossEntropyCase({ rows: 3, time: 7, vocabSize: 250, ignored: true }),
  crossEntropyCase({ rows: 1, time: 33, vocabSize: 5001, ignored: false }),
  crossEntropyCase({ rows: 1, time: 2, vocabSize: 50257, ignored: false }),
  crossEntropyCase({ rows: 6, time: 17, vocabSize: 250, ignored: true, extreme: true }),
  crossEntropyCase({ rows: 1, time: 12, vocabSize: 4099, ignored: false, extreme: true }),
  linearCrossEntropyCase({ rows: 3, time: 37, vocabSize: 250, nEmbd: 61, ignored: true }),
  linearCrossEntropyCase({ rows: 1, time: 113, vocabSize: 2051, nEmbd: 32, ignored: false }),
];

/** Each precision has its own test file, so that they run in parallel. */
export const testOperations = (precision: Precision): void =>
  describe(precision, () => {
    test.each(cases.map((one) => [one.name, one] as const))('%s', async (_, one) => {
      await checkOnGpu(one, precision);
    });

    test('attention with rare large values', async () => {
      // Scores of some tens: exp(s − max) turns the rounding of s, |s| · 2⁻²⁴, into relative error.
      for (const causal of [true, false]) {
        const one = attentionCase({ rows: 2, time: 65, heads: 2, headDim: 64, causal, outliers: true });
        await checkOnGpu(one, precision, { slack: 4 });
      }
    });

    test('label smoothing', async () => {
      const one = crossEntropyCase({ rows: 3, time: 17, vocabSize: 250, ignored: true });
      await checkOnGpu(one, precision, { labelSmoothing: 0.1 });
    });

    test('log_softmax', async () => {
      for (const vocabSize of [3, 250, 5001]) {
        await checkOnGpu(logSoftmaxCase({ rows: 3, time: 5, vocabSize }), precision, { eval: true });
      }
    });

    test('evaluation drops no probability', async () => {
      const one = attentionCase({ rows: 2, time: 9, heads: 2, headDim: 8, causal: true, dropout: 0.5 });
      await checkOnGpu(one, precision, { eval: true });
    });
  });
