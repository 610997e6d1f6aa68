import { normal, ones, zeros, type GraphBuilder, type Value } from '../graph/builder';

/** Settings that all blocks of a model share. */
export interface BlockOptions {
  /** Standard deviation of initial matrices. */
  readonly initializerRange: number;
  /** Added to the variance in each layer norm. */
  readonly layerNormEpsilon: number;
  /** Files hold matrices as [in, out]. Default false. */
  readonly transposedInFiles?: boolean;
}

/** Options of a block's self-attention. */
export interface AttentionOptions {
  /** Axis of x and of the result. */
  readonly embd: string;
  /** Packed axis of queries, keys and values: 3 · heads · headDim. */
  readonly qkv: string;
  /** Axis of the heads' output: heads · headDim. */
  readonly heads: string;
  /** Names of the linear layers before and after. */
  readonly layers: readonly [qkv: string, out: string];
  /** Inputs that mask padding and other documents. */
  readonly lengths?: Value | undefined;
  readonly starts?: Value | undefined;
  /** Attributes of the operation: `causal`, `dropout`, `scale`. */
  readonly mixing: Readonly<Record<string, number | boolean>>;
  /** Factor of the standard deviation of the last matrix. Default 1. */
  readonly outScale?: number;
}

/** The two linear layers of a block and the activation between them. */
export interface MlpOptions {
  /** Axis of x and of the result. */
  readonly embd: string;
  /** Axis between the layers. */
  readonly inner: string;
  /** Names of the linear layers. */
  readonly layers: readonly [wide: string, out: string];
  readonly activation: string;
  /** Factor of the standard deviation of the last matrix. Default 1. */
  readonly outScale?: number;
}

/**
 * The parts of Transformers. Each adds its nodes to a Graph, and its parameters under its own name, and returns the value
 * that it computes.
 */
export class Blocks {
  constructor(
    private readonly g: GraphBuilder,
    private readonly options: BlockOptions,
  ) {}

  /** x Wᵀ + b. `scale`: of the standard deviation of W. */
  linear(name: string, x: Value, from: string, to: string, scale = 1): Value {
    const { initializerRange, transposedInFiles } = this.options;
    const matrix = { decay: true, ...(transposedInFiles ? { transposedInFiles } : {}) };
    return this.g.node('linear', name, {
      x,
      weight: this.g.parameter(`${name}.weight`, [to, from], normal(initializerRange * scale), matrix),
      bias: this.g.parameter(`${name}.bias`, [to], zeros),
    });
  }

  /** Layer norm (Ba et al. 2016) with weight and bias. */
  norm(name: string, x: Value, axis: string): Value {
    const weight = this.g.parameter(`${name}.weight`, [axis], ones);
    const bias = this.g.parameter(`${name}.bias`, [axis], zeros);
    return this.g.node('layer_norm', name, { x, weight, bias }, { epsilon: this.options.layerNormEpsilon });
  }

  /** Dropout with probability p; nothing for 0. */
  dropout(name: string, x: Value, p: number): Value {
    return p > 0 ? this.g.node('dropout', name, { x }, { p }) : x;
  }

  /** Multi-head self-attention (Vaswani et al. 2017, section 3.2) between its two linear layers. */
  attention(name: string, x: Value, options: AttentionOptions): Value {
    const { embd, qkv, heads, layers, lengths, starts, mixing, outScale } = options;
    const packed = this.linear(`${name}.${layers[0]}`, x, embd, qkv);
    const mixed = this.g.node('attention', name, { qkv: packed, lengths, starts }, mixing);
    return this.linear(`${name}.${layers[1]}`, mixed, heads, embd, outScale);
  }

  /** W₂ f(W₁ x): the position-wise layers of a block. */
  mlp(name: string, x: Value, { embd, inner, layers, activation, outScale }: MlpOptions): Value {
    const wide = this.linear(`${name}.${layers[0]}`, x, embd, inner);
    const hidden = this.g.node('activation', `${name}.act`, { x: wide }, { function: activation });
    return this.linear(`${name}.${layers[1]}`, hidden, inner, embd, outScale);
  }

  /** x + branch(norm(x)), or norm(x + branch(x)) where the norm comes after (Xiong et al. 2020, figure 1). */
  residual(
    name: string,
    x: Value,
    norm: { readonly name: string; readonly axis: string; readonly place: 'pre' | 'post' },
    branch: (x: Value) => Value,
  ): Value {
    const post = norm.place === 'post';
    const y = branch(post ? x : this.norm(norm.name, x, norm.axis));
    const sum = this.g.node('add', name, { a: x, b: y });
    return post ? this.norm(norm.name, sum, norm.axis) : sum;
  }
}
