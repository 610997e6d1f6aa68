import fc from 'fast-check';
import type { Precision } from '../../../lib/native';
import {
  activationCase,
  addCase,
  attentionCase,
  crossAttentionCase,
  crossEntropyCase,
  dropoutCase,
  embeddingCase,
  layerNormCase,
  linearCase,
  positionEmbeddingCase,
  type OperationCase,
} from '../../unit/support/cases';
import { checkOnGpu } from '../support/gates';

/**
 * Random shapes. Their number and seed are fixed, so that runs repeat. A failure is printed with the seed and the smallest
 * sizes that still fail, as far as one test has time to find them.
 */
const runs = { numRuns: 5, seed: 20_240_229, interruptAfterTimeLimit: 40_000 };

const upTo = (most: number, least = 1): fc.Arbitrary<number> => fc.integer({ min: least, max: most });
const sizes = { rows: upTo(4), time: upTo(150) };
const documents = fc
  .uniqueArray(upTo(99), { maxLength: 8 })
  .map((starts) => [[0, ...starts.sort((a, b) => a - b)], [0]]);

const operations: Readonly<Record<string, fc.Arbitrary<OperationCase>>> = {
  linear: fc.record({ ...sizes, nIn: upTo(300), nOut: upTo(300), bias: fc.boolean() }).map(linearCase),
  activation: fc
    .record({ ...sizes, nEmbd: upTo(300), name: fc.constantFrom('gelu', 'gelu_new', 'silu', 'tanh') })
    .map(activationCase),
  layer_norm: fc
    .record({ ...sizes, nEmbd: upTo(3000, 16), bias: fc.boolean(), residual: fc.boolean() })
    .map((s) => layerNormCase({ ...s, time: Math.ceil(s.time / 10) })),
  attention: fc
    .record({
      rows: upTo(2),
      time: upTo(100),
      heads: upTo(2),
      headDim: upTo(128).map((half) => 2 * half),
      causal: fc.boolean(),
      lengths: fc.boolean(),
    })
    .map(attentionCase),
  'attention of documents': fc
    .record({
      rows: upTo(3),
      time: upTo(100),
      heads: upTo(2),
      headDim: upTo(128).map((half) => 2 * half),
      causal: fc.boolean(),
      lengths: fc.boolean(),
      documents,
    })
    .map(attentionCase),
  'attention of q and kv': fc
    .record({
      rows: upTo(2),
      time: upTo(100),
      keys: upTo(100),
      kvHeads: upTo(2),
      group: upTo(3),
      headDim: upTo(128).map((half) => 2 * half),
      causal: fc.boolean(),
      lengths: fc.boolean(),
      ranges: fc.boolean(),
      dropout: fc.constantFrom(0, 0.2),
    })
    .map(({ group, ...s }) => crossAttentionCase({ ...s, heads: group * s.kvHeads })),
  embedding: fc
    .record({ ...sizes, vocabSize: upTo(700), nEmbd: upTo(300), addend: fc.boolean() })
    .map(embeddingCase),
  position_embedding: fc
    .record({ ...sizes, nEmbd: upTo(100) })
    .map((s) => positionEmbeddingCase({ ...s, positions: s.time + 1 })),
  'position_embedding of documents': fc
    .record({ ...sizes, nEmbd: upTo(100), documents })
    .map((s) => positionEmbeddingCase({ ...s, positions: s.time })),
  add: fc.record({ ...sizes, nEmbd: upTo(300) }).map(addCase),
  dropout: fc.record({ ...sizes, nEmbd: upTo(300), p: fc.constantFrom(0.1, 0.5) }).map(dropoutCase),
  cross_entropy: fc
    .record({ rows: upTo(4), time: upTo(40), vocabSize: upTo(3000, 2), ignored: fc.boolean() })
    .map(crossEntropyCase),
};

/** Each precision has its own test file, so that they run in parallel. */
export const testRandomShapes = (precision: Precision): void =>
  describe(precision, () => {
    test.each(Object.entries(operations))('%s', async (_, cases) => {
      await fc.assert(
        fc.asyncProperty(cases, (one) => checkOnGpu(one, precision)),
        runs,
      );
    });
  });
