import { BATCH, type Graph } from '../../../lib/graph/graph';
import { GraphBuilder, width, zeros } from '../../../lib/graph/builder';
import type { Precision } from '../../../lib/native';
import { runGraph } from '../../oracles/graph';
import { atStart } from '../../oracles/philox';
import { tensor, type Tensor } from '../../oracles/tensor';
import { relativeError } from '../../unit/support/compare';
import { gpt2Cases, randomBatch, randomStarts, randomWeights } from '../../unit/support/gpt2_cases';
import { batchOf, SEED, withModel, writeParameters } from '../../unit/support/native';
import { Random } from '../../unit/support/random';
import { isHalf, roundTo } from '../../unit/support/rounding';
import { gpu } from '../support/gpu';

/**
 * Operations as rewrite rules fuse them. The yardstick in 16 bits is the plain program: the oracles with each tensor
 * rounded that it would write. Fusions write fewer tensors, so they are no further from the exact result.
 */
const rows = 3;
const time = 11;

/** x → linear → activation → linear → y: forward the activation, backward its slope follow a product. */
function mlp(name: string): Graph {
  const g = new GraphBuilder('mlp');
  const length = g.lengthAxis('time');
  const [embd, inner] = [g.axis('embd', width(45)), g.axis('inner', width(91))];
  const x = g.input('x', [BATCH, length, embd], { kind: 'values', dtype: 'float32' });
  g.input('dy', [BATCH, length, embd], { kind: 'values', dtype: 'float32' });
  const linear = (node: string, from: string, axes: [string, string]): string =>
    g.node('linear', node, {
      x: from,
      weight: g.parameter(`${node}.weight`, axes, zeros),
      bias: g.parameter(`${node}.bias`, [axes[0]], zeros),
    });
  const pre = linear('fc', x, [inner, embd]);
  const y = linear('proj', g.node('activation', 'act', { x: pre }, { function: name }), [embd, inner]);
  return g.build({ y });
}

const rounded = (given: ReadonlyMap<string, Tensor>, precision: Precision): Map<string, Tensor> =>
  new Map([...given].map(([name, { shape, data }]) => [name, { shape, data: data.map(roundTo[precision]) }]));

/** Keys move all scores of a query alike by their bias: its gradient is zero, and what rounding makes of zero. */
function withoutKeyBias(name: string, gradient: ArrayLike<number>): number[] {
  const values = Array.from(gradient);
  if (name.endsWith('c_attn.bias')) values.fill(0, values.length / 3, (2 * values.length) / 3);
  return values;
}

/** Runs a Graph on the GPU, and its gradients against the exact ones and the plain program's. */
async function check(graph: Graph, source: ReadonlyMap<string, Tensor>, precision: Precision): Promise<void> {
  const given = rounded(source, precision);
  const [output, node] = Object.entries(graph.outputs).find(([name]) => name === 'loss' || name === 'y')!;
  const seeds = new Map([[node, given.get('dy') ?? tensor([1], [1 / (rows * time)])]]);
  const state = { train: true, random: atStart(SEED) };
  const exact = runGraph(graph, given, seeds, state);
  const plain = isHalf(precision)
    ? runGraph(graph, given, seeds, { ...state, round: roundTo[precision] })
    : exact;
  const errors: { name: string; error: number; plain: number }[] = [];
  await withModel(graph, { device: gpu, precision }, async (model) => {
    await writeParameters(model, given);
    const inputs = 'y' in graph.outputs ? ['x'] : [];
    const { outputs } = await model.run(
      {
        mode: 'train',
        rows,
        lengths: { time },
        documents: given.has('starts'),
        outputs: [output],
        ...(output === 'y' ? { outputGradients: { y: 'dy' }, gradientsOf: inputs } : {}),
      },
      batchOf(graph, given),
      { poison: true },
    );
    const compare = (name: string, actual: ArrayLike<number>, of: (run: typeof exact) => Tensor): void => {
      const want = withoutKeyBias(name, of(exact).data);
      errors.push({
        name,
        error: relativeError(withoutKeyBias(name, actual), want),
        plain: relativeError(withoutKeyBias(name, of(plain).data), want),
      });
    };
    compare(output, outputs[output]!.data, ({ values }) => values.get(node)!);
    for (const name of inputs)
      compare(name, outputs[`d(${name})`]!.data, ({ gradients }) => gradients.get(name)!);
    for (const { name, trainable } of graph.parameters) {
      if (trainable === false) continue;
      compare(name, await model.readTensor('gradient', name), ({ gradients }) => gradients.get(name)!);
    }
  });
  if (!isHalf(precision)) {
    // Some twenty operations one after another, each with the CPU's fp32 error times four; TF32 has 10 bits, which
    // products cut off to.
    const most = precision === 'fp32' ? 1e-5 : 4e-3;
    expect(errors.filter(({ error }) => !(error <= most))).toEqual([]);
    return;
  }
  // A loss is one number, which rounding moves by up to the type's unit.
  const loss = errors.filter(({ name }) => name === 'loss');
  const unit = precision === 'bf16' ? 2 ** -8 : 2 ** -11;
  expect(loss.filter(({ error }) => !(error <= unit))).toEqual([]);
  // Both programs throw the same dice, a dozen times for the smallest tensors (2.8 was seen at most); over all tensors of
  // such small models the errors' mean squares were seen in a ratio of 0.74 to 1.25.
  const rest = errors.filter(({ name }) => name !== 'loss');
  expect(rest.filter((e) => !(e.error <= 3.5 * e.plain))).toEqual([]);
  const meanSquare = (of: (e: (typeof errors)[0]) => number): number =>
    rest.reduce((sum, e) => sum + of(e) ** 2, 0) / rest.length;
  const ratio = Math.sqrt(meanSquare(({ error }) => error) / meanSquare(({ plain: floor }) => floor));
  expect(ratio).toBeLessThanOrEqual(1.5);
}

describe.each<Precision>(['fp32', 'tf32', 'bf16', 'fp16'])('%s', (precision) => {
  test.each(['gelu', 'gelu_new', 'relu', 'silu', 'tanh'])('a product, %s and a product', async (name) => {
    const graph = mlp(name);
    const random = new Random(7);
    const float = (size: number): Tensor => random.normals([rows, time, size]);
    const weights = randomWeights(graph);
    await check(graph, new Map([...weights, ['x', float(45)], ['dy', float(45)]]), precision);
  });

  test.each(gpt2Cases)('GPT-2: %s', async (_, graph) => {
    const given = new Map([...randomWeights(graph), ...randomBatch(graph, rows, time, 5)]);
    await check(graph, given, precision);
  });

  test.each(gpt2Cases)('GPT-2 with documents: %s', async (_, graph) => {
    const given = new Map([...randomWeights(graph), ...randomBatch(graph, rows, time, 5)]);
    await check(graph, given.set('starts', randomStarts(rows, time, 5)), precision);
  });
});
