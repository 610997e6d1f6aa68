import { BATCH, type Graph } from '../../../lib/graph/graph';
import { GraphBuilder, ones, width, zeros } from '../../../lib/graph/builder';
import { devices, type Precision } from '../../../lib/native';
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

const EMBD = 45;
/** With more columns, tiles of 256 × 192 fill the chip: 68 pairs of them for 33 rows. */
const MANY = 12_872;

/** x → linear → activation → linear → y: forward the activation, backward its slope follow a product. */
function mlp(name: string, nInner = 91): Graph {
  const g = new GraphBuilder('mlp');
  const length = g.lengthAxis('time');
  const [embd, inner] = [g.axis('embd', width(EMBD)), g.axis('inner', width(nInner))];
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

/**
 * Products before norms, all with the same bias: its gradient is stored by the backward call of the last norm and added to
 * by that of the first, which has the gradient around a norm in it. Between them a product adds to it that no norm follows.
 */
function norms(): Graph {
  const g = new GraphBuilder('norms');
  const length = g.lengthAxis('time');
  const embd = g.axis('embd', width(EMBD));
  const x = g.input('x', [BATCH, length, embd], { kind: 'values', dtype: 'float32' });
  g.input('dy', [BATCH, length, embd], { kind: 'values', dtype: 'float32' });
  const bias = g.parameter('bias', [embd], zeros);
  const linear = (node: string, from: string): string =>
    g.node('linear', node, { x: from, weight: g.parameter(`${node}.weight`, [embd, embd], zeros), bias });
  const norm = (node: string, from: string): string => {
    const parameters = {
      weight: g.parameter(`${node}.weight`, [embd], ones),
      bias: g.parameter(`${node}.bias`, [embd], zeros),
    };
    return g.node('layer_norm', node, { x: from, ...parameters }, { epsilon: 1e-5 });
  };
  const first = linear('first', x);
  const second = linear('second', norm('ln_1', first));
  const act = g.node('activation', 'act', { x: second }, { function: 'tanh' });
  const sum = g.node('add', 'sum', { a: first, b: act });
  return g.build({ y: norm('ln_2', linear('third', sum)) });
}

const rounded = (given: ReadonlyMap<string, Tensor>, precision: Precision): Map<string, Tensor> =>
  new Map([...given].map(([name, { shape, data }]) => [name, { shape, data: data.map(roundTo[precision]) }]));

/** Keys move all scores of a query alike by their bias: its gradient is zero, and what rounding makes of zero. */
function withoutKeyBias(name: string, gradient: ArrayLike<number>): number[] {
  const values = Array.from(gradient);
  if (name.endsWith('c_attn.bias')) values.fill(0, values.length / 3, (2 * values.length) / 3);
  return values;
}

/**
 * Runs a Graph on the GPU, and its gradients against the exact ones and the plain program's. Returns the calls that sum the
 * columns of what they store: gradients of biases.
 */
async function check(
  graph: Graph,
  source: ReadonlyMap<string, Tensor>,
  precision: Precision,
): Promise<string[]> {
  const given = rounded(source, precision);
  const [output, node] = Object.entries(graph.outputs).find(([name]) => name === 'loss' || name === 'y')!;
  const seeds = new Map([[node, given.get('dy') ?? tensor([1], [1 / (rows * time)])]]);
  const state = { train: true, random: atStart(SEED) };
  const exact = runGraph(graph, given, seeds, state);
  const plain = isHalf(precision)
    ? runGraph(graph, given, seeds, { ...state, round: roundTo[precision] })
    : exact;
  const errors: { name: string; error: number; plain: number }[] = [];
  const summing: string[] = [];
  await withModel(graph, { device: gpu, precision }, async (model) => {
    await writeParameters(model, given);
    const inputs = 'y' in graph.outputs ? ['x'] : [];
    const { outputs, taps } = await model.run(
      {
        mode: 'train',
        rows,
        lengths: { time },
        documents: given.has('starts'),
        outputs: [output],
        ...(output === 'y' ? { outputGradients: { y: 'dy' }, gradientsOf: inputs } : {}),
      },
      batchOf(graph, given),
      { poison: true, tap: true },
    );
    summing.push(...taps.filter(({ output }) => output === 'columnSums').map(({ call }) => call));
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
    return summing;
  }
  // A loss is one number, which rounding moves by up to the type's unit.
  const loss = errors.filter(({ name }) => name === 'loss');
  const unit = precision === 'bf16' ? 2 ** -8 : 2 ** -11;
  expect(loss.filter(({ error }) => !(error <= unit))).toEqual([]);
  // Both programs throw the same dice, a dozen times for the smallest tensors (2.8 was seen at most); over all tensors of
  // such small models the errors' mean squares were seen in a ratio of 0.74 to 1.25.
  const rest = errors.filter(({ name }) => name !== 'loss');
  // The plain program has no error where it sums what is given, in double precision.
  expect(rest.filter((e) => !(e.error <= Math.max(1e-6, 3.5 * e.plain)))).toEqual([]);
  const meanSquare = (of: (e: (typeof errors)[0]) => number): number =>
    rest.reduce((sum, e) => sum + of(e) ** 2, 0) / rest.length;
  const ratio = Math.sqrt(meanSquare(({ error }) => error) / meanSquare(({ plain: floor }) => floor));
  expect(ratio).toBeLessThanOrEqual(1.5);
  return summing;
}

/** The same for layers with an input and a gradient. */
async function checkLayers(graph: Graph, precision: Precision): Promise<string[]> {
  const random = new Random(7);
  const float = (): Tensor => random.normals([rows, time, EMBD]);
  return check(graph, new Map([...randomWeights(graph), ['x', float()], ['dy', float()]]), precision);
}

describe.each<Precision>(['fp32', 'tf32', 'bf16', 'fp16'])('%s', (precision) => {
  test.each(['gelu', 'gelu_new', 'relu', 'silu', 'tanh'])('a product, %s and a product', async (name) => {
    await checkLayers(mlp(name), precision);
  });

  test('products before norms sum the gradient of a shared bias in the norms', async () => {
    expect(await checkLayers(norms(), precision)).toEqual(['d(ln_2)', 'd(ln_1)']);
  });

  test.each(['gelu_new', 'relu'])('a product of many tiles, %s and a product', async (name) => {
    const { chip } = (await devices()).find((device) => device.name === gpu)!;
    const isHopper = chip === 'h100' || chip === 'h200';
    const summing = await checkLayers(mlp(name, MANY), precision);
    expect(summing).toEqual(isHopper && isHalf(precision) ? ['d(proj)'] : []);
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
