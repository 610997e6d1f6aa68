import { BATCH, type Graph } from '../../../lib/graph/graph';
import { GraphBuilder, normal, ones, vocabulary, width, zeros } from '../../../lib/graph/builder';
import { plan, type PlanRequest } from '../../../lib/native';
import type { Plan } from '../../../lib/report/plan_table';
import { planTraining, type PlanOptions } from '../../../lib/training/planning';
import { TINY } from '../support/tiny_model';

/** Which call writes the gradient of each bias of a linear layer, and to which of its outputs. */
const writersOf = ({ calls }: Plan): string[] =>
  calls.flatMap(({ name, operation, outputs }) =>
    outputs
      .filter(({ slot }) => slot === 'columnSums' || (slot === 'dbias' && operation.startsWith('linear')))
      .map(({ value, slot }) => `${value}: ${name} ${operation} ${slot}`),
  );

/** In a GPT-2 of two blocks, with names of one block where the other has the same. */
const gpt2Writers = (options: PlanOptions, batchSize = 4096): string[] => {
  const model = { ...TINY, nLayer: 2, residPdrop: 0 };
  const writers = writersOf(planTraining(model, { ...options, arguments: { batchSize } }));
  return writers.map((line) => line.replaceAll('transformer.', ''));
};

const SEPARATE = (block: number): string[] => [
  `d(h.${block}.mlp.c_proj.bias): d(h.${block}.mlp.c_proj) linear_weight_gradient dbias`,
  `d(h.${block}.mlp.c_fc.bias): d(h.${block}.mlp.c_fc) linear_weight_gradient dbias`,
  `d(h.${block}.attn.c_proj.bias): d(h.${block}.attn.c_proj) linear_weight_gradient dbias`,
  `d(h.${block}.attn.c_attn.bias): d(h.${block}.attn.c_attn) linear_weight_gradient dbias`,
];

describe('the gradient of a bias is summed where the gradient of its layer is made', () => {
  const after = ['ln_f', 'h.1.ln_1']; // the norms behind the last and the first block
  const fused = (isFcFused: boolean): string[] =>
    [1, 0].flatMap((block) => {
      const [proj, fc, attention, qkv] = SEPARATE(block) as [string, string, string, string];
      const by = (line: string, call: string): string => `${line.split(':')[0]!}: ${call} columnSums`;
      return [
        by(proj, `d(${after[1 - block]!}) layer_norm_backward`),
        isFcFused ? by(fc, `d(h.${block}.mlp.c_proj) linear_input_gradient`) : fc,
        by(attention, `d(h.${block}.ln_2) layer_norm_backward`),
        qkv,
      ];
    });

  test.each<[string, PlanOptions, number, boolean]>([
    ['products of our own with GELU’s slope', { chip: 'h100', precision: 'bf16' }, 4096, true],
    ['the same in fp16', { chip: 'h200', precision: 'fp16' }, 4096, true],
    ['small products, by cuBLASLt', { chip: 'h100', precision: 'bf16' }, 8, false],
    ['products of an A100', { chip: 'a100', precision: 'bf16' }, 4096, false],
    ['TF32', { chip: 'h100', precision: 'tf32' }, 4096, false],
  ])('%s', (_, options, batchSize, isFcFused) => {
    expect(gpt2Writers(options, batchSize)).toEqual(fused(isFcFused));
  });

  test('not on the CPU', () => {
    expect(gpt2Writers({ chip: 'cpu' })).toEqual([...SEPARATE(1), ...SEPARATE(0)]);
  });
});

test('the plan counts the gradient that is read once less', () => {
  const { calls } = planTraining(
    { ...TINY, residPdrop: 0 },
    { chip: 'h100', precision: 'bf16', arguments: { batchSize: 4096 } },
  );
  const weightGradient = (name: string): Plan['calls'][number] =>
    calls.find((call) => call.operation === 'linear_weight_gradient' && call.name.includes(name))!;
  const bytesOf = (call: Plan['calls'][number]): number =>
    [...call.inputs, ...call.outputs].reduce((sum, { bytes }) => sum + bytes, 0);
  const [alone, withSums] = [weightGradient('mlp.c_proj'), weightGradient('attn.c_attn')];
  expect(alone).toMatchObject({ vectorFlops: 0, bytes: bytesOf(alone) });
  const dy = withSums.inputs[0]!.bytes;
  expect(withSums).toMatchObject({ vectorFlops: dy / 2, bytes: bytesOf(withSums) + dy });
});

test('a call that has nothing left to compute disappears', () => {
  const frozen = planTraining(
    { ...TINY, residPdrop: 0 },
    {
      chip: 'h100',
      precision: 'bf16',
      arguments: { batchSize: 4096, parameterGroups: [{ match: '*.c_*.weight', trainable: false }] },
    },
  );
  const kept = frozen.calls.filter(({ operation }) => operation === 'linear_weight_gradient');
  expect(kept.map(({ name }) => name)).toEqual(['d(transformer.h.0.attn.c_attn)']);
  expect(writersOf(frozen)).toHaveLength(4);
});

describe('layers whose gradients meet', () => {
  /** y = norm(first + …) + …, with a loss; `build` gets a function that makes linear layers. */
  const graphOf = (
    build: (tools: {
      readonly linear: (name: string, bias: string) => string;
      readonly norm: (x: string) => string;
      readonly add: (a: string, b: string) => string;
    }) => string,
  ): Graph => {
    const g = new GraphBuilder('meeting');
    const time = g.lengthAxis('time');
    const [vocab, embd] = [g.axis('vocab', vocabulary(64)), g.axis('embd', width(64))];
    const tokens = g.input('tokens', [BATCH, time], { kind: 'ids', below: 64 });
    const targets = g.input('targets', [BATCH, time], { kind: 'ids', below: 64 });
    const wte = g.parameter('wte', [vocab, embd], normal(0.5));
    const x = g.node('embedding', 'embedded', { ids: tokens, weight: wte });
    const biases = new Map<string, string>();
    const biasOf = (name: string): string => {
      if (!biases.has(name)) biases.set(name, g.parameter(name, [embd], zeros));
      return biases.get(name)!;
    };
    const y = build({
      linear: (name, bias) =>
        g.node('linear', name, {
          x,
          weight: g.parameter(`${name}.weight`, [embd, embd], normal(0.5)),
          bias: biasOf(bias),
        }),
      norm: (of) =>
        g.node(
          'layer_norm',
          'norm',
          { x: of, weight: g.parameter('norm.weight', [embd], ones) },
          { epsilon: 1e-5 },
        ),
      add: (a, b) => g.node('add', `${a} + ${b}`, { a, b }),
    });
    const logits = g.node('linear', 'head', {
      x: y,
      weight: g.parameter('head.weight', [vocab, embd], normal(1)),
    });
    return g.build({ loss: g.node('cross_entropy', 'loss', { logits, targets }, { ignoreIndex: -100 }) });
  };
  const request: PlanRequest = { rows: 4, lengths: { time: 16 }, chip: 'h100' };
  const writers = (graph: Graph): string[] => writersOf(plan(graph, request) as Plan);

  test('one gradient has the sums of one bias', () => {
    const graph = graphOf(({ linear, norm, add }) => norm(add(linear('first', 'a'), linear('second', 'b'))));
    expect(writers(graph)).toEqual([
      'd(b): d(norm) layer_norm_backward columnSums',
      'd(a): d(first) linear_weight_gradient dbias',
    ]);
  });

  test('a gradient that another call writes meanwhile stays where it is', () => {
    const graph = (bias: string): Graph =>
      graphOf(({ linear, norm, add }) => {
        const [first, second] = [linear('first', 'a'), linear('second', bias)];
        return add(norm(first), second);
      });
    expect(writers(graph('b'))).toEqual([
      'd(a): d(norm) layer_norm_backward columnSums',
      'd(b): d(second) linear_weight_gradient dbias',
    ]);
    expect(writers(graph('a'))).toEqual([
      'd(a): d(second) linear_weight_gradient dbias',
      'd(a): d(first) linear_weight_gradient dbias',
    ]);
  });

  test('a shared bias is stored by the first call and added to by the next', () => {
    const graph = graphOf(({ linear, norm, add }) => norm(add(linear('first', 'a'), linear('second', 'a'))));
    expect(writers(graph)).toEqual([
      'd(a): d(norm) layer_norm_backward columnSums',
      'd(a): d(first) linear_weight_gradient dbias',
    ]);
  });
});
