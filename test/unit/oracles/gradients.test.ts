import { atStart } from '../../oracles/philox';
import { runGraph } from '../../oracles/graph';
import { tensor, type Tensor } from '../../oracles/tensor';
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
  logSoftmaxCase,
  NODE,
  positionEmbeddingCase,
  type OperationCase,
} from '../support/cases';
import { expectClose } from '../support/compare';
import { finiteDifferences } from '../support/finite_differences';

// Central differences with a step of 1e-5 in double precision: the formula errs by about 1e-10 of the third derivative,
// rounding by 1e-16 / 1e-5 of the value.
const tolerance = 1e-6;

const size = { rows: 2, time: 5 };
const heads = { ...size, heads: 2, headDim: 3 };

const cases: readonly OperationCase[] = [
  linearCase({ ...size, nIn: 4, nOut: 3, bias: true }),
  linearCase({ ...size, nIn: 1, nOut: 6, bias: false }),
  ...['gelu', 'gelu_new', 'relu', 'silu', 'tanh'].map((name) => activationCase({ ...size, nEmbd: 7, name })),
  layerNormCase({ ...size, nEmbd: 6, bias: true }),
  layerNormCase({ ...size, nEmbd: 3, bias: false, residual: true }),
  attentionCase({ ...heads, causal: true }),
  attentionCase({ ...heads, causal: false, scale: 0.7 }),
  attentionCase({ ...heads, causal: true, lengths: true }),
  attentionCase({ ...heads, causal: false, lengths: true }),
  attentionCase({ ...heads, causal: true, dropout: 0.3 }),
  attentionCase({
    ...heads,
    causal: true,
    documents: [
      [0, 2],
      [0, 1, 4],
    ],
  }),
  attentionCase({
    ...heads,
    causal: false,
    dropout: 0.3,
    documents: [
      [0, 2],
      [0, 1, 4],
    ],
  }),
  crossAttentionCase({ ...heads, keys: 3, kvHeads: 1, causal: true }),
  crossAttentionCase({ ...heads, keys: 7, kvHeads: 2, causal: true, lengths: true, dropout: 0.3 }),
  crossAttentionCase({ ...heads, heads: 4, keys: 6, kvHeads: 2, causal: false, ranges: true }),
  embeddingCase({ ...size, vocabSize: 4, nEmbd: 3 }),
  embeddingCase({ ...size, vocabSize: 9, nEmbd: 2, addend: true }),
  positionEmbeddingCase({ ...size, positions: 8, nEmbd: 3 }),
  positionEmbeddingCase({
    ...size,
    positions: 8,
    nEmbd: 3,
    documents: [
      [0, 2],
      [0, 1, 4],
    ],
  }),
  lastPositionCase({ ...size, nEmbd: 3 }),
  addCase({ ...size, nEmbd: 3 }),
  addCase({ ...size, nEmbd: 3, same: true }),
  dropoutCase({ ...size, nEmbd: 5, p: 0.4 }),
  logSoftmaxCase({ ...size, vocabSize: 6 }),
  crossEntropyCase({ ...size, vocabSize: 6, ignored: false }),
  crossEntropyCase({ ...size, vocabSize: 6, ignored: true }),
];

const lossSeed = tensor([1], [0.37]);

function check(one: OperationCase, labelSmoothing: number): void {
  const options = { train: true, random: { ...atStart(11), attempted: 3, firstSample: 2 }, labelSmoothing };
  const seed = one.given.get('dy') ?? lossSeed;
  const given = new Map<string, Tensor>([...one.given].map(([k, v]) => [k, tensor(v.shape, v.data)]));
  const objective = (): number => {
    const { data } = runGraph(one.graph, given, new Map(), options).values.get(NODE)!;
    return seed.data.reduce((sum, dy, i) => sum + dy * data[i]!, 0);
  };
  const { gradients } = runGraph(one.graph, given, new Map([[NODE, seed]]), options);
  for (const name of one.differentiable) {
    const numeric = finiteDifferences(objective, given.get(name)!);
    expectClose(`d(${name})`, gradients.get(name)!.data, numeric, tolerance);
  }
}

describe('the gradient that an oracle states is the slope of its value', () => {
  test.each(cases.map((one) => [one.name, one] as const))('%s', (_, one) => check(one, 0));

  test('cross_entropy with label smoothing', () => {
    check(crossEntropyCase({ ...size, vocabSize: 5, ignored: true }), 0.2);
  });
});
