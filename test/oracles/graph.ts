import type { Attribute, FactorSpec, Graph, NodeSpec } from '../../lib/graph/graph';
import { activation, activationBackward } from './activation';
import { attention, attentionBackward, beside, columns, seenBy } from './attention';
import { attention16 } from './attention16';
import { crossEntropy, crossEntropyBackward } from './cross_entropy';
import { dropout } from './dropout';
import { embedding, embeddingBackward } from './embedding';
import { lastPosition, lastPositionBackward } from './last_position';
import { layerNorm, layerNormBackward } from './layer_norm';
import { linear, linearBackward } from './linear';
import { logSoftmax, logSoftmaxBackward } from './log_softmax';
import { positionEmbedding, positionEmbeddingBackward } from './position_embedding';
import type { RandomState } from './philox';
import { add, map, tensor, zerosOf, type Tensor } from './tensor';

/** A node with its tensors, as an operation's oracle sees it. */
interface Call {
  readonly name: string;
  readonly input: (slot: string) => Tensor;
  readonly optional: (slot: string) => Tensor | undefined;
  readonly number: (attribute: string, otherwise?: number) => number;
  readonly text: (attribute: string) => string;
  readonly flag: (attribute: string) => boolean;
  /** Sizes of the factors of a value's last axis. */
  readonly factors: (slot: string) => readonly number[];
  readonly options: RunOptions;
}

/** What a node computed, and its gradient: of each input by slot, from that of the value. */
interface Outcome {
  readonly value: Tensor;
  readonly backward: (dy: Tensor) => Readonly<Record<string, Tensor>>;
}

export interface RunOptions {
  /** Whether dropout and label smoothing apply. */
  readonly train: boolean;
  readonly random: RandomState;
  readonly labelSmoothing?: number;
  /**
   * Rounds every value and gradient but losses and gradients of parameters, and what attention makes on its way: what a
   * plain program does that keeps its tensors in a 16-bit type and computes exactly between them.
   */
  readonly round?: (value: number) => number;
}

const operations: Readonly<Record<string, (call: Call) => Outcome>> = {
  linear: (c) => {
    const [x, weight] = [c.input('x'), c.input('weight')];
    return {
      value: linear(x, weight, c.optional('bias')),
      backward: (dy) => {
        const { dx, dweight, dbias } = linearBackward(dy, x, weight);
        return { x: dx, weight: dweight, bias: dbias };
      },
    };
  },
  activation: (c) => ({
    value: activation(c.input('x'), c.text('function')),
    backward: (dy) => ({ x: activationBackward(dy, c.input('x'), c.text('function')) }),
  }),
  layer_norm: (c) => {
    const residual = c.optional('residual');
    const x = residual ? add(c.input('x'), residual) : c.input('x');
    const epsilon = c.number('epsilon');
    return {
      value: layerNorm(x, c.input('weight'), c.optional('bias'), epsilon),
      backward: (dy) => {
        const { dx, dweight, dbias } = layerNormBackward(dy, x, c.input('weight'), epsilon);
        return { x: dx, residual: dx, weight: dweight, bias: dbias };
      },
    };
  },
  attention: (c) => {
    const qkv = c.optional('qkv');
    const [heads, headDim] = c.factors(qkv ? 'qkv' : 'q').slice(-2) as [number, number];
    const kvHeads = qkv ? heads : c.factors('kv')[1]!;
    const width = heads * headDim;
    const q = qkv ? columns(qkv, 0, width) : c.input('q');
    const kv = qkv ? columns(qkv, width, 3 * width) : c.input('kv');
    const p = c.number('dropout', 0);
    const settings = {
      heads,
      headDim,
      scale: c.number('scale', 1 / Math.sqrt(headDim)),
      dropout: c.options.train && p > 0 ? { p, site: c.name, random: c.options.random } : undefined,
    };
    const sees = seenBy({
      queries: q.shape[1]!,
      keys: kv.shape[1]!,
      causal: c.flag('causal'),
      lengths: c.optional('lengths'),
      lengthsOfQueries: qkv !== undefined,
      starts: c.optional('starts'),
      keyBegin: c.optional('keyBegin'),
      keyEnd: c.optional('keyEnd'),
    });
    const options = { ...settings, kvHeads, sees };
    const { round } = c.options;
    const plain = round && ((dy: Tensor) => attention16(q, kv, dy, round, options));
    return {
      value: plain ? plain(zerosOf(q.shape)).y : attention(q, kv, options),
      backward: (dy) => {
        const { dq, dkv } = plain ? plain(dy) : attentionBackward(dy, q, kv, options);
        return qkv ? { qkv: beside(dq, dkv) } : { q: dq, kv: dkv };
      },
    };
  },
  embedding: (c) => {
    const addend = c.optional('addend');
    const rows = embedding(c.input('ids'), c.input('weight'));
    return {
      value: addend ? add(rows, addend) : rows,
      backward: (dy) => ({ weight: embeddingBackward(dy, c.input('ids'), c.input('weight')), addend: dy }),
    };
  },
  position_embedding: (c) => ({
    value: positionEmbedding(c.input('x'), c.input('weight'), c.optional('start'), c.optional('starts')),
    backward: (dy) => ({
      x: dy,
      weight: positionEmbeddingBackward(dy, c.input('weight'), c.optional('starts')),
    }),
  }),
  last_position: (c) => {
    const [x, lengths] = [c.input('x'), c.input('lengths')];
    return {
      value: lastPosition(x, lengths),
      backward: (dy) => ({ x: lastPositionBackward(dy, x, lengths) }),
    };
  },
  add: (c) => ({ value: add(c.input('a'), c.input('b')), backward: (dy) => ({ a: dy, b: dy }) }),
  dropout: (c) => {
    const apply = (x: Tensor): Tensor =>
      c.options.train ? dropout(x, c.number('p'), c.name, c.options.random) : x;
    return { value: apply(c.input('x')), backward: (dy) => ({ x: apply(dy) }) };
  },
  log_softmax: (c) => ({
    value: logSoftmax(c.input('x')),
    backward: (dy) => ({ x: logSoftmaxBackward(dy, c.input('x')) }),
  }),
  // Its value is (sum, valid); its gradient comes from a seed, the same for every valid target.
  cross_entropy: (c) => {
    const options = {
      ignoreIndex: c.number('ignoreIndex', -100),
      labelSmoothing: c.options.train ? (c.options.labelSmoothing ?? 0) : 0,
    };
    const [logits, targets] = [c.input('logits'), c.input('targets')];
    const { sum, valid } = crossEntropy(logits, targets, options);
    return {
      value: tensor([2], [sum, valid]),
      backward: (seed) => ({ logits: crossEntropyBackward(seed.data[0]!, logits, targets, options) }),
    };
  },
};

export interface GraphRun {
  /** Every value by name. */
  readonly values: ReadonlyMap<string, Tensor>;
  /** Gradients of every value that one flows into, parameters and inputs included. */
  readonly gradients: ReadonlyMap<string, Tensor>;
}

/**
 * Runs a Graph forward and backward in double precision.
 *
 * @param given parameters and inputs by name, in logical shapes
 * @param seeds gradients of values; that of a cross_entropy is one number
 */
export function runGraph(
  graph: Graph,
  given: ReadonlyMap<string, Tensor>,
  seeds: ReadonlyMap<string, Tensor>,
  options: RunOptions,
): GraphRun {
  const values = new Map(given);
  const { round } = options;
  const rounded = (x: Tensor): Tensor => (round ? map(x, round) : x);
  const parameters = new Set(graph.parameters.map(({ name }) => name));
  const lastFactors = factorsOfLastAxes(graph);
  const backwards: { node: NodeSpec; outcome: Outcome }[] = [];
  for (const node of graph.nodes) {
    const oracle = operations[node.op];
    if (!oracle) throw new Error(`no oracle for the operation ${node.op}`);
    const outcome = oracle(callOf(node, values, lastFactors, options));
    values.set(node.name, node.op === 'cross_entropy' ? outcome.value : rounded(outcome.value));
    backwards.push({ node, outcome });
  }
  const gradients = new Map(seeds);
  for (const { node, outcome } of backwards.reverse()) {
    const dy = gradients.get(node.name);
    if (!dy) continue;
    const flows = outcome.backward(dy);
    for (const [slot, name] of Object.entries(node.inputs)) {
      const flow = flows[slot];
      if (!flow) continue;
      const before = gradients.get(name);
      const sum = before ? add(before, flow) : flow;
      gradients.set(name, parameters.has(name) ? sum : rounded(sum));
    }
  }
  return { values, gradients };
}

function callOf(
  node: NodeSpec,
  values: ReadonlyMap<string, Tensor>,
  lastFactors: ReadonlyMap<string, readonly FactorSpec[]>,
  options: RunOptions,
): Call {
  const optional = (slot: string): Tensor | undefined => values.get(node.inputs[slot] ?? '');
  const attribute = (name: string): Attribute | undefined => node.attributes?.[name];
  const require = <T>(value: T | undefined, what: string): T => {
    if (value === undefined) throw new Error(`${node.name} has no ${what}`);
    return value;
  };
  return {
    name: node.name,
    optional,
    input: (slot) => require(optional(slot), slot),
    number: (name, otherwise) => Number(require(attribute(name) ?? otherwise, name)),
    text: (name) => String(require(attribute(name), name)),
    flag: (name) => attribute(name) === true,
    factors: (slot) => require(lastFactors.get(node.inputs[slot] ?? ''), slot).map(({ size }) => size),
    options,
  };
}

/** The factors of each value's last axis: attention reads heads and head size from them. */
function factorsOfLastAxes(graph: Graph): ReadonlyMap<string, readonly FactorSpec[]> {
  const axes = new Map(graph.axes.map(({ name, factors }) => [name, factors]));
  const found = new Map<string, readonly FactorSpec[]>();
  for (const { name, axes: names } of [...graph.parameters, ...graph.inputs]) {
    const last = axes.get(names.at(-1) ?? '');
    if (last) found.set(name, last);
  }
  for (const { name, op, inputs } of graph.nodes) {
    if (op === 'linear') {
      const weight = graph.parameters.find((parameter) => parameter.name === inputs['weight']);
      const last = axes.get(weight?.axes[0] ?? '');
      if (last) found.set(name, last);
    } else {
      const from = found.get(inputs['x'] ?? inputs['a'] ?? inputs['weight'] ?? '');
      if (from) found.set(name, from);
    }
  }
  return found;
}
