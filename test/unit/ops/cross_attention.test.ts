import { count, GraphBuilder, head, normal, vocabulary, width } from '../../../lib/graph/builder';
import { BATCH, type FactorSpec, type Graph, type NodeSpec } from '../../../lib/graph/graph';
import { plan, type Precision } from '../../../lib/native';
import type { Plan } from '../../../lib/report/plan_table';
import {
  attentionCase,
  crossAttentionCase,
  groupedAttentionCase,
  NODE,
  type OperationCase,
} from '../support/cases';
import { expectClose } from '../support/compare';
import { failureOf } from '../support/errors';
import { checkCase, runNative } from '../support/native';

describe.each([true, false])('q and kv, causal %s', (causal) => {
  test.each([
    [1, 1, 1, 1, 1, 1],
    [2, 5, 3, 2, 2, 7],
    [2, 3, 5, 4, 1, 8],
    [1, 70, 203, 4, 2, 20],
    [2, 203, 70, 6, 3, 16],
    [1, 129, 129, 3, 1, 68],
  ])(
    'rows %d, %d queries, %d keys, heads %d over %d of %d',
    async (rows, time, keys, heads, kvHeads, headDim) => {
      await checkCase(crossAttentionCase({ rows, time, keys, heads, kvHeads, headDim, causal }));
    },
  );

  const sizes = { rows: 7, time: 67, keys: 90, heads: 4, kvHeads: 2, headDim: 12, causal } as const;

  test.each([
    ['lengths of keys, also a row of none', { lengths: true }],
    ['lengths and fewer keys than queries', { lengths: true, time: 90, keys: 67 }],
    ['ranges of keys, also none', { ranges: true }],
    ['ranges and fewer keys than queries', { ranges: true, time: 90, keys: 67 }],
    ['ranges and lengths', { ranges: true, lengths: true }],
    ['dropout', { rows: 2, dropout: 0.2 }],
    ['dropout, ranges and lengths', { rows: 3, ranges: true, lengths: true, dropout: 0.2 }],
  ])('%s', async (_, more) => {
    await checkCase(crossAttentionCase({ ...sizes, ...more }), { separate: true });
  });

  test('the same numbers on one thread and on two', async () => {
    for (const more of [{}, { ranges: true, lengths: true, dropout: 0.1 }]) {
      const one = crossAttentionCase({ ...sizes, ...more });
      expect(await runNative(one, { threads: 2 })).toEqual(await runNative(one, { threads: 1 }));
    }
  });
});

/** The case with its ranges replaced; each is (rows, queries). */
function withRanges(one: OperationCase, ranges: Record<'keyBegin' | 'keyEnd', (i: number) => number>) {
  const given = new Map(one.given);
  for (const [name, of] of Object.entries(ranges)) {
    const { shape, data } = given.get(name)!;
    given.set(name, { shape, data: data.map((_, i) => of(i)) });
  }
  return { ...one, given };
}

test('queries that see no key give zeros, and no gradient', async () => {
  const sizes = { rows: 2, time: 70, keys: 40, heads: 2, kvHeads: 1, headDim: 8, causal: false } as const;
  const one = crossAttentionCase({ ...sizes, ranges: true });
  const isEmpty = (i: number): boolean => i % 3 === 0;
  const some = withRanges(one, { keyBegin: () => 11, keyEnd: (i) => (isEmpty(i) ? 11 : 30) });
  await checkCase(some);
  const { value, gradients } = await runNative(some);
  for (const values of [value, gradients.get('q')!])
    expect(Array.from(values, (x) => x === 0)).toEqual(
      Array.from(values, (_, i) => isEmpty(Math.floor(i / 16))),
    );
  const none = await runNative(withRanges(one, { keyBegin: () => 40, keyEnd: () => 40 }));
  for (const values of [none.value, ...none.gradients.values()])
    expect(Array.from(values)).toEqual(Array.from(values, () => 0));
});

test.each([
  [2, 3, [11 / 2, 111 / 3]],
  [3, 2, [0, 1, 11 / 2]],
])(
  '%d causal queries of %d keys: the last sees all, two heads share one of kv',
  async (time, keys, means) => {
    const sizes = { rows: 1, time, keys, heads: 4, kvHeads: 2, headDim: 1, causal: true } as const;
    const one = crossAttentionCase(sizes);
    // Scores are zero, so a query gets the mean of the values that it sees: 1, 10, 100 in one head, −1, −10, −100 in the other.
    const values = Array.from({ length: keys }, (_, k) => [0, 0, 10 ** k, -(10 ** k)]).flat();
    const q = { shape: [1, time, 4], data: new Float64Array(time * 4) };
    const kv = { shape: [1, keys, 4], data: Float64Array.from(values) };
    const { value } = await runNative({ ...one, given: new Map([...one.given, ['q', q], ['kv', kv]]) });
    const expected = means.flatMap((mean) => [mean, mean, -mean, -mean]);
    expectClose('y', value, expected, 1e-6);
  },
);

test('ranges of documents are what starts are', async () => {
  const sizes = { rows: 2, time: 150, heads: 2, headDim: 8, causal: true } as const;
  const packed = attentionCase({ ...sizes, documents: [[0, 40, 41, 64], [0]] });
  const starts = packed.given.get('starts')!;
  const qkv = packed.given.get('qkv')!;
  const columns = (from: number, to: number) => ({
    shape: [2, 150, to - from],
    data: qkv.data.filter((_, i) => i % 48 >= from && i % 48 < to),
  });
  const apart = crossAttentionCase({ ...sizes, keys: 150, kvHeads: 2, ranges: true });
  const given = new Map([
    ...apart.given,
    ['q', columns(0, 16)],
    ['kv', columns(16, 48)],
    ['dy', packed.given.get('dy')!],
    ['keyBegin', starts],
    ['keyEnd', { ...starts, data: starts.data.map(() => 150) }],
  ] as const);
  expect((await runNative({ ...apart, given })).value).toEqual((await runNative(packed)).value);
});

describe('self-attention of grouped heads', () => {
  const sizes = { rows: 3, time: 70, nEmbd: 40, heads: 4, kvHeads: 2, headDim: 12 };

  test.each([
    ['one document a row', {}],
    ['documents', { documents: [[0, 1, 30], [0, 64], [0]] }],
  ])('queries and keys of one x: %s', async (_, more) => {
    await checkCase(groupedAttentionCase({ ...sizes, ...more }));
  });
});

const sizes = { rows: 2, time: 6, keys: 4, heads: 4, kvHeads: 2, headDim: 8, causal: true } as const;
const known = crossAttentionCase({ ...sizes, ranges: true });

test('evaluation drops no probability', async () => {
  await checkCase(crossAttentionCase({ ...sizes, dropout: 0.5 }), { eval: true });
});

test.each([
  ['keyEnd', 5, /keyEnd\[1\]\[3\] is 5; it must be in \[0, 4\], the length of 'keys'/],
  ['keyBegin', -1, /keyBegin\[1\]\[3\] is -1; it must be in \[0, 4\], the length of 'keys'/],
] as const)('%s of %d is refused', async (name, value, message) => {
  const bad = { keyBegin: () => 0, keyEnd: () => 4, [name]: (i: number) => (i === 9 ? value : 0) };
  const failure = await failureOf('ERR_DATA', () => runNative(withRanges(known, bad)));
  expect(failure.message).toMatch(message);
});

/** A Graph with one attention, of inputs that each test changes. */
function attentionOf(change: {
  readonly q?: readonly FactorSpec[];
  readonly kv?: readonly FactorSpec[];
  readonly slots?: (inputs: Readonly<Record<string, string>>) => NodeSpec['inputs'];
  readonly axesOfQ?: readonly string[];
}): Graph {
  const g = new GraphBuilder('attention');
  const [time, keys] = [g.lengthAxis('time'), g.lengthAxis('keys')];
  const floats = { kind: 'values', dtype: 'float32' } as const;
  const lastOfQ = g.axis('ofQ', ...(change.q ?? [count(4), head(8)]));
  const lastOfKv = g.axis('ofKv', ...(change.kv ?? [count(2), count(2), head(8)]));
  const packed = g.axis('ofQkv', count(3), count(4), head(8));
  const inputs = {
    q: g.input('q', change.axesOfQ ?? [BATCH, time, lastOfQ], floats),
    kv: g.input('kv', [BATCH, keys, lastOfKv], floats),
    qkv: g.input('qkv', [BATCH, time, packed], floats),
    starts: g.input('starts', [BATCH, time], { kind: 'starts' }),
    keyBegin: g.input('keyBegin', [BATCH, time], { kind: 'positions', measures: keys }),
    ofKeys: g.input('ofKeys', [BATCH, keys], { kind: 'positions', measures: keys }),
  };
  const { q, kv } = inputs;
  const mixed = g.node('attention', NODE, change.slots?.(inputs) ?? { q, kv });
  // A plan needs a loss.
  const classes = g.axis('classes', vocabulary(3));
  const logits = g.node('linear', 'head', {
    x: mixed,
    weight: g.parameter('head.weight', [classes, lastOfQ], normal(1)),
  });
  const targets = g.input('targets', [BATCH, time], { kind: 'ids', below: 3 });
  return g.build({ loss: g.node('cross_entropy', 'loss', { logits, targets }) });
}

const planOf = (graph: Graph, chip = 'cpu', precision: Precision = 'fp32') =>
  plan(graph, { chip, precision, rows: 2, lengths: { time: 6, keys: 4 } }) as Plan;

test.each<[string, Parameters<typeof attentionOf>[0], RegExp]>([
  ['no operand', { slots: () => ({}) }, /reads either qkv alone, or q and kv/],
  ['q alone', { slots: ({ q }) => ({ q: q! }) }, /reads either qkv alone, or q and kv/],
  ['both forms', { slots: ({ qkv, q, kv }) => ({ qkv: qkv!, q: q!, kv: kv! }) }, /reads either qkv alone/],
  ['qkv and kv', { slots: ({ qkv, kv }) => ({ qkv: qkv!, kv: kv! }) }, /reads either qkv alone/],
  [
    'starts of q and kv',
    { slots: ({ q, kv, starts }) => ({ q: q!, kv: kv!, starts: starts! }) },
    /starts are for qkv; with q and kv use keyBegin and keyEnd/,
  ],
  [
    'ranges of qkv',
    { slots: ({ qkv, keyBegin }) => ({ qkv: qkv!, keyBegin: keyBegin! }) },
    /keyBegin and keyEnd are for q and kv; with qkv use starts/,
  ],
  [
    'ranges by key',
    { slots: ({ q, kv, ofKeys }) => ({ q: q!, kv: kv!, keyEnd: ofKeys! }) },
    /keyEnd must be int32 with the batch and time axes of its operand, not batch 2 × keys 4 int32/,
  ],
  [
    'q of two axes',
    { axesOfQ: [BATCH, 'ofQ'] },
    /q must have the axes \(batch, time, heads · head\), not batch 2 × ofQ 32/,
  ],
  [
    'q without heads',
    { q: [width(32)] },
    /last axis of q must have the factors heads · head, and the axis 'ofQ'/,
  ],
  [
    'kv that is packed as qkv is',
    { kv: [count(3), count(2), head(8)] },
    /last axis of kv must have the factors 2 · heads · head, and the axis 'ofKv' does not/,
  ],
  ['heads of two sizes', { kv: [count(2), count(2), head(6)] }, /must have the same size, not 8 and 6/],
  [
    'heads that do not divide',
    { kv: [count(2), count(3), head(8)] },
    /q has 4 heads, which must be a multiple of the 3 heads of kv/,
  ],
])('%s: refused', async (_, change, message) => {
  const failure = await failureOf('ERR_SHAPE', () => planOf(attentionOf(change)));
  expect(failure.message).toMatch(message);
});

test.each<[Precision, string, Parameters<typeof attentionOf>[0], string]>([
  ['bf16', 'q and kv', {}, 'sm80_strided'],
  ['fp16', 'q and kv', {}, 'sm80_strided'],
  ['fp32', 'q and kv', {}, 'plain'],
  ['tf32', 'q and kv', {}, 'plain'],
  [
    'bf16',
    'ranges of keys',
    { slots: ({ q, kv, keyBegin }) => ({ q: q!, kv: kv!, keyBegin: keyBegin! }) },
    'plain',
  ],
  ['bf16', 'qkv', { slots: ({ qkv }) => ({ qkv: qkv! }) }, 'sm80'],
  [
    'bf16',
    'qkv with documents',
    { slots: ({ qkv, starts }) => ({ qkv: qkv!, starts: starts! }) },
    'sm80_documents',
  ],
  ['fp32', 'qkv with documents', { slots: ({ qkv, starts }) => ({ qkv: qkv!, starts: starts! }) }, 'plain'],
])('on a GPU in %s, the kernel for %s', (precision, _, change, kernel) => {
  const { calls } = planOf(attentionOf(change), 'h100', precision);
  expect(calls.filter(({ operation }) => operation === 'attention').map((call) => call.kernel)).toEqual([
    kernel,
  ]);
});
