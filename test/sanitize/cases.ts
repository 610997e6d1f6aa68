import { gpt2 } from '../../lib/models/gpt2';
import type { Precision } from '../../lib/native';
import { rounded } from '../gpu/support/rounded';
import { caseFile } from '../unit/support/case_file';
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
  positionEmbeddingCase,
} from '../unit/support/cases';

const documents = [
  [0, 1, 2, 16, 33, 64],
  [0, 48, 63],
];

/** Small odd shapes that reach each kernel and each of its tails: checkers make kernels ten to a thousand times slower. */
const operations = [
  linearCase({ rows: 3, time: 17, nIn: 61, nOut: 37, bias: true }),
  linearCase({ rows: 1, time: 133, nIn: 72, nOut: 136, bias: false }),
  activationCase({ rows: 3, time: 5, nEmbd: 37, name: 'gelu_new' }),
  activationCase({ rows: 1, time: 3, nEmbd: 9, name: 'gelu' }),
  layerNormCase({ rows: 3, time: 13, nEmbd: 31, bias: true, residual: true }),
  layerNormCase({ rows: 1, time: 5, nEmbd: 545, bias: false }),
  layerNormCase({ rows: 1, time: 3, nEmbd: 1600, bias: true }),
  attentionCase({ rows: 2, time: 67, heads: 2, headDim: 20, causal: true }),
  attentionCase({ rows: 3, time: 33, heads: 1, headDim: 64, causal: false, lengths: true }),
  attentionCase({ rows: 1, time: 131, heads: 1, headDim: 68, causal: true, dropout: 0.2 }),
  attentionCase({ rows: 1, time: 35, heads: 1, headDim: 128, causal: true }),
  attentionCase({ rows: 1, time: 35, heads: 1, headDim: 256, causal: false }),
  ...[20, 64, 80, 96, 128, 256].map((headDim, i) =>
    attentionCase({ rows: 2, time: 67, heads: 1, headDim, causal: i % 2 === 0, lengths: true, documents }),
  ),
  attentionCase({ rows: 1, time: 131, heads: 1, headDim: 68, causal: true, dropout: 0.2, documents }),
  ...[20, 64, 80, 96, 128, 256].map((headDim, i) =>
    crossAttentionCase({
      rows: 2,
      time: 67,
      keys: 35 + 40 * (i % 2),
      heads: 2,
      kvHeads: 1,
      headDim,
      causal: i < 4,
      lengths: true,
      dropout: 0.2 * (i % 3),
    }),
  ),
  ...[64, 128, 256].map((headDim) =>
    crossAttentionCase({
      rows: 2,
      time: 35,
      keys: 67,
      heads: 2,
      kvHeads: 1,
      headDim,
      causal: true,
      ranges: true,
    }),
  ),
  embeddingCase({ rows: 3, time: 31, vocabSize: 12, nEmbd: 9, addend: true }),
  embeddingCase({ rows: 1, time: 300, vocabSize: 700, nEmbd: 40 }),
  positionEmbeddingCase({ rows: 3, time: 7, positions: 11, nEmbd: 40 }),
  positionEmbeddingCase({ rows: 9, time: 67, positions: 70, nEmbd: 40, documents }),
  lastPositionCase({ rows: 3, time: 5, nEmbd: 37 }),
  addCase({ rows: 3, time: 5, nEmbd: 37 }),
  dropoutCase({ rows: 3, time: 5, nEmbd: 37, p: 0.3 }),
  crossEntropyCase({ rows: 3, time: 7, vocabSize: 250, ignored: true }),
  crossEntropyCase({ rows: 1, time: 3, vocabSize: 2051, ignored: false }),
  linearCrossEntropyCase({ rows: 3, time: 7, vocabSize: 250, nEmbd: 61, ignored: true }),
];

/** A model in which every fusion happens, with padding in each axis. */
const config = { vocabSize: 61, nPositions: 20, nEmbd: 45, nHead: 5, nInner: 91, nLayer: 2 } as const;
export const graph = gpt2({ ...config, embdPdrop: 0.1, attnPdrop: 0.1, residPdrop: 0.1 });
export const shape = { rows: 3, lengths: { time: 19 } } as const;

// A checker looks at memory; how good the results are is for test/gpu. Several times the rounding floor of each type (six
// in bf16, ten in fp16): more would be a kernel that does not run as it does without a checker.
const tolerances: Readonly<Record<Precision, number>> = { fp32: 1e-5, tf32: 1e-3, bf16: 1e-2, fp16: 2e-3 };

/**
 * Cases of op_run for one precision. Buffers have allocations of their own and are not filled: a checker sees what is
 * beyond their ends and what nobody wrote.
 */
export function sanitizerCases(device: string, precision: Precision): Record<string, unknown>[] {
  const options = {
    model: { device, precision },
    run: { poison: false, separate: true },
    tolerance: () => tolerances[precision],
    repeat: 1,
  };
  const whole = {
    name: 'gpt2',
    graph,
    model: { seed: 1, ...options.model },
    request: { mode: 'train', ...shape },
    run: options.run,
    inputs: { tokens: { ids: 1 }, targets: { ids: 2 } },
  };
  return [...operations.map((one) => caseFile(rounded(one, precision), options)), whole];
}
