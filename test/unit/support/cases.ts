import { BATCH, type Attribute, type Graph, type NodeSpec } from '../../../lib/graph/graph';
import { count, GraphBuilder, head, vocabulary, width, zeros } from '../../../lib/graph/builder';
import type { Tensor } from '../../oracles/tensor';
import { Random } from './random';

/**
 * A Graph with one operation, its tensors, and the gradient of its value: an input `dy`, or one number for a loss.
 */
export interface OperationCase {
  readonly name: string;
  readonly graph: Graph;
  readonly rows: number;
  readonly time: number;
  /** The extent of each length axis. */
  readonly lengths: Readonly<Record<string, number>>;
  /** Parameters and inputs by name, `dy` too. */
  readonly given: ReadonlyMap<string, Tensor>;
  /** Float inputs and parameters: what has a gradient. */
  readonly differentiable: readonly string[];
  /** The most products that an element of the value or of a gradient sums; sets the tolerance. */
  readonly terms: number;
}

interface Sizes {
  readonly rows: number;
  readonly time: number;
}

/** Where documents start, for each row; rows beyond those given repeat them. */
type Documents = readonly (readonly number[])[];

/** Name of the one node: fixed, because random numbers depend on it. */
export const NODE = 'node';

class CaseBuilder {
  private readonly g = new GraphBuilder('operation');
  readonly time = this.g.lengthAxis('time');
  private readonly given = new Map<string, Tensor>();
  private readonly differentiable: string[] = [];
  private readonly random: Random;
  readonly leading: readonly [number, number];
  private readonly extents: Map<string, number>;

  constructor(
    private readonly name: string,
    private readonly sizes: Sizes,
  ) {
    this.random = new Random([...name].reduce((a, c) => (a * 31 + c.charCodeAt(0)) >>> 0, 7));
    this.leading = [sizes.rows, sizes.time];
    this.extents = new Map([[this.time, sizes.time]]);
  }

  axis = (name: string, ...factors: Parameters<GraphBuilder['axis']>[1][]): string =>
    this.g.axis(name, ...factors);

  parameter(name: string, axes: readonly string[], shape: readonly number[], mean = 0): string {
    const { data } = this.random.normals(shape);
    this.given.set(name, { shape, data: data.map((value) => Math.fround(value + mean)) });
    this.differentiable.push(name);
    return this.g.parameter(name, axes, zeros);
  }

  /** Another length axis, of an extent of its own. */
  lengthAxis(name: string, extent: number): string {
    this.extents.set(name, extent);
    return this.g.lengthAxis(name);
  }

  /** A float input (batch, time, axis) with a gradient; `along` another length axis than time. */
  input(name: string, axis: string, size: number, outliers = false, along = this.time): string {
    const shape = [this.sizes.rows, this.extents.get(along)!, size];
    // Rare large values, as trained networks have them: N(0, 1), one in a hundred N(0, 10).
    const draw = (): number => this.random.normal() * (outliers && this.random.uniform() < 0.01 ? 10 : 1);
    this.given.set(
      name,
      this.random.tensor(shape, () => Math.fround(draw())),
    );
    this.differentiable.push(name);
    return this.g.input(name, [BATCH, along, axis], { kind: 'values', dtype: 'float32' });
  }

  ids(name: string, axes: readonly string[], values: Tensor, below: number, ignored?: number): string {
    this.given.set(name, values);
    return this.g.input(name, axes, { kind: 'ids', below, ...(ignored === undefined ? {} : { ignored }) });
  }

  /** The input `starts` of rows with documents. */
  starts(documents: Documents): { starts: string } {
    const [rows, time] = this.leading;
    const of = (i: number): number => {
      const [row, t] = [Math.floor(i / time), i % time];
      return documents[row % documents.length]!.filter((start) => start <= t).at(-1)!;
    };
    this.given.set('starts', {
      shape: [rows, time],
      data: new Float64Array(rows * time).map((_, i) => of(i)),
    });
    return { starts: this.g.input('starts', [BATCH, this.time], { kind: 'starts', optional: true }) };
  }

  /** The first key that each query sees and one beyond the last; about half of the queries see none. */
  ranges(along: string): { keyBegin: string; keyEnd: string } {
    const most = this.extents.get(along)!;
    const draw = (name: string): string => {
      this.given.set(name, this.random.ids(this.leading, most + 1));
      return this.g.input(name, [BATCH, this.time], { kind: 'positions', measures: along });
    };
    return { keyBegin: draw('keyBegin'), keyEnd: draw('keyEnd') };
  }

  node = (
    op: string,
    name: string,
    inputs: NodeSpec['inputs'],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string => this.g.node(op, name, inputs, attributes);

  /** The values of an input or a parameter, to change. */
  values = (name: string): Float64Array => this.given.get(name)!.data;
  chance = (share: number): boolean => this.random.uniform() < share;

  randomIds = (below: number): Tensor => this.random.ids(this.leading, below);
  /** Lengths of rows, from none to all of their positions along a length axis. */
  lengths(along = this.time): string {
    const most = this.extents.get(along)!;
    const values = this.random.tensor([this.sizes.rows], () => this.random.integer(most + 1));
    this.given.set('lengths', values);
    return this.g.input('lengths', [BATCH], { kind: 'lengths', measures: along });
  }

  build(
    op: string,
    inputs: NodeSpec['inputs'],
    attributes: Readonly<Record<string, Attribute>>,
    out: { axis: string; size: number; byRow?: boolean } | 'loss',
    terms: number,
  ): OperationCase {
    if (out !== 'loss') {
      const [shape, axes] = out.byRow
        ? [
            [this.sizes.rows, out.size],
            [BATCH, out.axis],
          ]
        : [
            [...this.leading, out.size],
            [BATCH, this.time, out.axis],
          ];
      this.given.set('dy', this.random.normals(shape));
      this.g.input('dy', axes, { kind: 'values', dtype: 'float32' });
    }
    const node = this.g.node(op, NODE, inputs, attributes);
    const { name, given, differentiable } = this;
    const graph = this.g.build(out === 'loss' ? { loss: node } : { y: node });
    const lengths = Object.fromEntries(this.extents);
    return { graph, ...this.sizes, lengths, name, given, differentiable, terms };
  }
}

const label = (op: string, sizes: object): string =>
  `${op} ${Object.entries(sizes)
    .map(([key, value]) => `${key}=${Array.isArray(value) ? JSON.stringify(value) : String(value)}`)
    .join(' ')}`;

export function linearCase(sizes: Sizes & { nIn: number; nOut: number; bias: boolean }): OperationCase {
  const b = new CaseBuilder(label('linear', sizes), sizes);
  const from = b.axis('in', width(sizes.nIn));
  const to = b.axis('out', width(sizes.nOut));
  const x = b.input('x', from, sizes.nIn);
  const weight = b.parameter('weight', [to, from], [sizes.nOut, sizes.nIn]);
  const bias = sizes.bias ? { bias: b.parameter('bias', [to], [sizes.nOut]) } : {};
  const terms = Math.max(sizes.nIn, sizes.nOut, sizes.rows * sizes.time);
  return b.build('linear', { x, weight, ...bias }, {}, { axis: to, size: sizes.nOut }, terms);
}

/**
 * Pairs of linear layers, one after another, with an activation in each. The first layers of all pairs have the same bias,
 * whose gradient the last pair stores and the others add to. The node of the case is the last layer.
 */
export function mlpsCase(
  sizes: Sizes & { nEmbd: number; nInner: number; function: string; pairs: number },
): OperationCase {
  const b = new CaseBuilder(label('mlps', sizes), sizes);
  const embd = b.axis('embd', width(sizes.nEmbd));
  const inner = b.axis('inner', width(sizes.nInner));
  const x = b.input('x', embd, sizes.nEmbd);
  // A variance of one in, of one out.
  const weight = (name: string, axes: [string, string], [to, from]: [number, number]): string => {
    const parameter = b.parameter(name, axes, [to, from]);
    b.values(name).forEach((value, i, all) => (all[i] = Math.fround(value / Math.sqrt(from))));
    return parameter;
  };
  const fcBias = b.parameter('fc.bias', [inner], [sizes.nInner]);
  const layers = (from: string, pair: number): NodeSpec['inputs'] => {
    const fc = weight(`${pair}.fc`, [inner, embd], [sizes.nInner, sizes.nEmbd]);
    const pre = b.node('linear', `pre ${pair}`, { x: from, weight: fc, bias: fcBias });
    const act = b.node('activation', `act ${pair}`, { x: pre }, { function: sizes.function });
    const proj = weight(`${pair}.proj`, [embd, inner], [sizes.nEmbd, sizes.nInner]);
    return { x: act, weight: proj, bias: b.parameter(`${pair}.bias`, [embd], [sizes.nEmbd]) };
  };
  let last = layers(x, 0);
  for (let pair = 1; pair < sizes.pairs; pair++) last = layers(b.node('linear', `y ${pair - 1}`, last), pair);
  const terms = Math.max(sizes.nEmbd, sizes.nInner, sizes.rows * sizes.time);
  return b.build('linear', last, {}, { axis: embd, size: sizes.nEmbd }, terms);
}

/** A linear layer and the norm of what it computes; the node of the case is the norm. */
export function normedLinearCase(sizes: Sizes & { nIn: number; nOut: number }): OperationCase {
  const b = new CaseBuilder(label('normed linear', sizes), sizes);
  const from = b.axis('in', width(sizes.nIn));
  const to = b.axis('out', width(sizes.nOut));
  const x = b.node('linear', 'linear', {
    x: b.input('x', from, sizes.nIn),
    weight: b.parameter('linear.weight', [to, from], [sizes.nOut, sizes.nIn]),
    bias: b.parameter('linear.bias', [to], [sizes.nOut]),
  });
  const weight = b.parameter('weight', [to], [sizes.nOut], 1);
  const terms = Math.max(sizes.nIn, sizes.nOut, sizes.rows * sizes.time);
  return b.build('layer_norm', { x, weight }, { epsilon: 1e-5 }, { axis: to, size: sizes.nOut }, terms);
}

export function activationCase(sizes: Sizes & { nEmbd: number; name: string }): OperationCase {
  const b = new CaseBuilder(label('activation', sizes), sizes);
  const axis = b.axis('embd', width(sizes.nEmbd));
  const x = b.input('x', axis, sizes.nEmbd, true);
  return b.build('activation', { x }, { function: sizes.name }, { axis, size: sizes.nEmbd }, 1);
}

export function layerNormCase(
  sizes: Sizes & { nEmbd: number; bias: boolean; residual?: boolean },
): OperationCase {
  const b = new CaseBuilder(label('layer_norm', sizes), sizes);
  const axis = b.axis('embd', width(sizes.nEmbd));
  const x = b.input('x', axis, sizes.nEmbd);
  const weight = b.parameter('weight', [axis], [sizes.nEmbd], 1);
  const bias = sizes.bias ? { bias: b.parameter('bias', [axis], [sizes.nEmbd]) } : {};
  const residual = sizes.residual ? { residual: b.input('residual', axis, sizes.nEmbd) } : {};
  const terms = Math.max(sizes.nEmbd, sizes.rows * sizes.time);
  const inputs = { x, weight, ...bias, ...residual };
  return b.build('layer_norm', inputs, { epsilon: 1e-5 }, { axis, size: sizes.nEmbd }, terms);
}

export function attentionCase(
  sizes: Sizes & {
    heads: number;
    headDim: number;
    causal: boolean;
    lengths?: boolean;
    scale?: number;
    dropout?: number;
    outliers?: boolean;
    documents?: Documents;
  },
): OperationCase {
  const b = new CaseBuilder(label('attention', sizes), sizes);
  const { rows, time, heads, headDim, causal, scale, dropout } = sizes;
  const packed = b.axis('qkv', count(3), count(heads), head(headDim));
  const out = b.axis('heads', count(heads), head(headDim));
  const qkv = b.input('qkv', packed, 3 * heads * headDim, sizes.outliers);
  const lengths = sizes.lengths ? { lengths: b.lengths() } : {};
  const attributes = {
    causal,
    ...(scale === undefined ? {} : { scale }),
    ...(dropout === undefined ? {} : { dropout }),
  };
  const terms = Math.max(time, headDim) + rows;
  const starts = sizes.documents ? b.starts(sizes.documents) : {};
  return b.build(
    'attention',
    { qkv, ...lengths, ...starts },
    attributes,
    { axis: out, size: heads * headDim },
    terms,
  );
}

/**
 * Attention of queries along `time` and `keys` keys along their own axis, in separate tensors.
 *
 * A gradient of kv sums the terms of all heads that share it.
 */
export function crossAttentionCase(
  sizes: Sizes & {
    keys: number;
    heads: number;
    kvHeads: number;
    headDim: number;
    causal: boolean;
    lengths?: boolean;
    ranges?: boolean;
    dropout?: number;
  },
): OperationCase {
  const b = new CaseBuilder(label('attention', sizes), sizes);
  const { rows, time, keys, heads, kvHeads, headDim, causal, dropout } = sizes;
  const source = b.lengthAxis('keys', keys);
  const ofQ = b.axis('q', count(heads), head(headDim));
  const ofKv = b.axis('kv', count(2), count(kvHeads), head(headDim));
  const q = b.input('q', ofQ, heads * headDim);
  const kv = b.input('kv', ofKv, 2 * kvHeads * headDim, false, source);
  const lengths = sizes.lengths ? { lengths: b.lengths(source) } : {};
  const attributes = { causal, ...(dropout === undefined ? {} : { dropout }) };
  const terms = Math.max((time * heads) / kvHeads, keys, headDim) + rows;
  const inputs = { q, kv, ...lengths, ...(sizes.ranges ? b.ranges(source) : {}) };
  return b.build('attention', inputs, attributes, { axis: ofQ, size: heads * headDim }, terms);
}

/** Self-attention whose queries and keys are made of one x; documents are ranges of keys. */
export function groupedAttentionCase(
  sizes: Sizes & { nEmbd: number; heads: number; kvHeads: number; headDim: number; documents?: Documents },
): OperationCase {
  const b = new CaseBuilder(label('attention', sizes), sizes);
  const { rows, time, nEmbd, heads, kvHeads, headDim } = sizes;
  const embd = b.axis('embd', width(nEmbd));
  const ofQ = b.axis('q', count(heads), head(headDim));
  const ofKv = b.axis('kv', count(2), count(kvHeads), head(headDim));
  const x = b.input('x', embd, nEmbd);
  const projection = (name: string, axis: string, size: number): string =>
    b.node('linear', name, { x, weight: b.parameter(`${name}.weight`, [axis, embd], [size, nEmbd]) });
  const q = projection('query', ofQ, heads * headDim);
  const kv = projection('key_value', ofKv, 2 * kvHeads * headDim);
  const ranges = sizes.documents ? { keyBegin: b.starts(sizes.documents).starts } : {};
  const terms = Math.max(nEmbd, (time * heads) / kvHeads, rows * time);
  const out = { axis: ofQ, size: heads * headDim };
  return b.build('attention', { q, kv, ...ranges }, { causal: true, scale: 0.02 }, out, terms);
}

export function embeddingCase(
  sizes: Sizes & { vocabSize: number; nEmbd: number; addend?: boolean },
): OperationCase {
  const b = new CaseBuilder(label('embedding', sizes), sizes);
  const vocab = b.axis('vocab', vocabulary(sizes.vocabSize));
  const axis = b.axis('embd', width(sizes.nEmbd));
  const ids = b.ids('ids', [BATCH, b.time], b.randomIds(sizes.vocabSize), sizes.vocabSize);
  const weight = b.parameter('weight', [vocab, axis], [sizes.vocabSize, sizes.nEmbd]);
  const addend = sizes.addend ? { addend: b.input('addend', axis, sizes.nEmbd) } : {};
  const terms = sizes.rows * sizes.time;
  return b.build('embedding', { ids, weight, ...addend }, {}, { axis, size: sizes.nEmbd }, terms);
}

export function positionEmbeddingCase(
  sizes: Sizes & { positions: number; nEmbd: number; documents?: Documents },
): OperationCase {
  const b = new CaseBuilder(label('position_embedding', sizes), sizes);
  const positions = b.axis('positions', count(sizes.positions));
  const axis = b.axis('embd', width(sizes.nEmbd));
  const x = b.input('x', axis, sizes.nEmbd);
  const weight = b.parameter('weight', [positions, axis], [sizes.positions, sizes.nEmbd]);
  const starts = sizes.documents ? b.starts(sizes.documents) : {};
  const terms = sizes.rows * (sizes.documents ? sizes.time : 1);
  return b.build('position_embedding', { x, weight, ...starts }, {}, { axis, size: sizes.nEmbd }, terms);
}

export function addCase(sizes: Sizes & { nEmbd: number; same?: boolean }): OperationCase {
  const b = new CaseBuilder(label('add', sizes), sizes);
  const axis = b.axis('embd', width(sizes.nEmbd));
  const a = b.input('a', axis, sizes.nEmbd);
  const other = sizes.same ? a : b.input('b', axis, sizes.nEmbd);
  return b.build('add', { a, b: other }, {}, { axis, size: sizes.nEmbd }, 1);
}

export function lastPositionCase(sizes: Sizes & { nEmbd: number }): OperationCase {
  const b = new CaseBuilder(label('last_position', sizes), sizes);
  const axis = b.axis('embd', width(sizes.nEmbd));
  const inputs = { x: b.input('x', axis, sizes.nEmbd), lengths: b.lengths() };
  return b.build('last_position', inputs, {}, { axis, size: sizes.nEmbd, byRow: true }, 1);
}

export function dropoutCase(sizes: Sizes & { nEmbd: number; p: number }): OperationCase {
  const b = new CaseBuilder(label('dropout', sizes), sizes);
  const axis = b.axis('embd', width(sizes.nEmbd));
  const x = b.input('x', axis, sizes.nEmbd);
  return b.build('dropout', { x }, { p: sizes.p }, { axis, size: sizes.nEmbd }, 1);
}

export function logSoftmaxCase(sizes: Sizes & { vocabSize: number }): OperationCase {
  const b = new CaseBuilder(label('log_softmax', sizes), sizes);
  const axis = b.axis('vocab', vocabulary(sizes.vocabSize));
  const x = b.input('x', axis, sizes.vocabSize);
  return b.build('log_softmax', { x }, {}, { axis, size: sizes.vocabSize }, sizes.vocabSize);
}

/**
 * A loss over logits that are an input; `ignored` targets of four in ten when there are any. `extreme`: rows around −80,
 * 0 and +80 in turn, and every second target is the largest logit, whose gradient p − 1 cancels.
 */
export function crossEntropyCase(
  sizes: Sizes & { vocabSize: number; ignored: boolean; extreme?: boolean },
): OperationCase {
  const b = new CaseBuilder(label('cross_entropy', sizes), sizes);
  const { vocabSize } = sizes;
  const axis = b.axis('vocab', vocabulary(vocabSize));
  const logits = b.input('logits', axis, vocabSize, true);
  const chosen = b.randomIds(vocabSize);
  // The first target stays valid: a batch without one has no mean.
  const values = chosen.data.map((id, i) => (sizes.ignored && i > 0 && (id * 7 + i) % 10 < 4 ? -100 : id));
  if (sizes.extreme) {
    const z = b.values('logits');
    for (let row = 0; row < values.length; row++) {
      const of = z.subarray(row * vocabSize, (row + 1) * vocabSize);
      of.forEach((value, i) => (of[i] = Math.fround(value + 80 * ((row % 3) - 1))));
      if (row % 2 === 1) values[row] = of.indexOf(Math.max(...of));
    }
  }
  const targets = b.ids('targets', [BATCH, b.time], { ...chosen, data: values }, vocabSize, -100);
  return b.build('cross_entropy', { logits, targets }, { ignoreIndex: -100 }, 'loss', vocabSize);
}

/**
 * The output layer and its loss, which a rewrite rule makes one operation. x and weight are small multiples of 1/2 and
 * 1/16, mostly zeros, so that 16-bit types hold each logit and round only the gradient.
 */
export function linearCrossEntropyCase(
  sizes: Sizes & { vocabSize: number; nEmbd: number; ignored: boolean; spread?: number },
): OperationCase {
  const b = new CaseBuilder(label('linear_cross_entropy', sizes), sizes);
  // A power of two, by which logits are further apart.
  const { vocabSize, nEmbd, spread = 1 } = sizes;
  const vocab = b.axis('vocab', vocabulary(vocabSize));
  const embd = b.axis('embd', width(nEmbd));
  const x = b.input('x', embd, nEmbd);
  const weight = b.parameter('weight', [vocab, embd], [vocabSize, nEmbd]);
  // 16 terms that are not zero, each at most 1 · 1/4 in steps of 1/32: a sum of at most 4 has eight bits.
  const kept = Math.min(1, 16 / nEmbd);
  const grid = (values: Float64Array, step: number, most: number, share: number): void =>
    values.forEach((value, i) => {
      const steps = Math.max(-most, Math.min(most, Math.round(value * most)));
      values[i] = b.chance(share) ? steps * step : 0;
    });
  grid(b.values('x'), spread / 2, 2, kept);
  grid(b.values('weight'), 1 / 16, 4, 1);
  const chosen = b.randomIds(vocabSize);
  const values = chosen.data.map((id, i) => (sizes.ignored && i > 0 && (id * 7 + i) % 10 < 4 ? -100 : id));
  const targets = b.ids('targets', [BATCH, b.time], { ...chosen, data: values }, vocabSize, -100);
  const logits = b.node('linear', 'head', { x, weight });
  const terms = Math.max(nEmbd, vocabSize, sizes.rows * sizes.time);
  return b.build('cross_entropy', { logits, targets }, { ignoreIndex: -100 }, 'loss', terms);
}
