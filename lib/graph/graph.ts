/**
 * A model as plain data: named axes, parameters and inputs, and nodes in the order in which they compute. A Graph says
 * what is computed, never how: the native compiler differentiates, fuses and schedules it. It crosses into native code
 * as one JSON text, and the same bytes are kept in a checkpoint.
 */
export interface Graph {
  readonly format: 'tesserae.graph';
  readonly version: 1;
  /** The model family, for people. */
  readonly name: string;
  readonly axes: readonly AxisSpec[];
  readonly parameters: readonly ParameterSpec[];
  readonly inputs: readonly InputSpec[];
  readonly nodes: readonly NodeSpec[];
  /** The values that programs can ask for, by role: `loss`, `logits`, or any name in a test. */
  readonly outputs: Readonly<Record<string, string>>;
}

/**
 * What a factor stands for, which decides how it is padded: a `width` (features of a layer) and a `head` (features of
 * one attention head) to multiples of 8, a `vocabulary` to multiples of 64, a `count` never.
 */
export type FactorRole = 'count' | 'width' | 'head' | 'vocabulary';

/** One factor of an axis, in logical size: padding is the compiler's. */
export interface FactorSpec {
  readonly size: number;
  readonly role: FactorRole;
}

/** An axis is a product of factors, slowest first: the packed QKV axis is 3 · heads · headDim. */
export interface AxisSpec {
  readonly name: string;
  readonly factors: readonly FactorSpec[];
}

/** The two axes that every Graph has without declaring them; a program binds their sizes. */
export const BATCH = 'batch';
export const TIME = 'time';

/** How a parameter starts. Random ones are drawn from Philox keyed by the seed and the parameter's name. */
export type Initializer =
  | { readonly type: 'normal'; readonly std: number }
  | { readonly type: 'constant'; readonly value: number }
  /** Sinusoidal positions (Vaswani et al. 2017, section 3.5), sine and cosine interleaved. */
  | { readonly type: 'sinusoidal' };

export interface ParameterSpec {
  readonly name: string;
  /** Names of its axes, slowest first: a linear weight is [out, in]. */
  readonly axes: readonly string[];
  readonly init: Initializer;
  /** Whether weight decay applies: matrices yes, biases and norms no. */
  readonly decay: boolean;
  /** A parameter that is not trainable has no gradient. Default true. */
  readonly trainable?: boolean;
  /** Whether checkpoints hold it. Default true. */
  readonly saved?: boolean;
  /** Files hold its transpose (Hugging Face's GPT-2 stores linear weights as [in, out]). Default false. */
  readonly transposedInFiles?: boolean;
}

export interface InputSpec {
  readonly name: string;
  readonly axes: readonly string[];
  readonly dtype: 'int32' | 'float32';
  /** Ids must lie in [0, below); native code refuses a batch that breaks this. */
  readonly below?: number;
  /** An id outside the range that is allowed all the same: the target that no loss is computed for. */
  readonly ignored?: number;
  /**
   * An input that only programs for packed rows read: others are compiled without it, as if no node named it. Default
   * false.
   */
  readonly optional?: boolean;
}

export type Attribute = number | string | boolean;

export interface NodeSpec {
  /** Unique; names the node, the value that it computes, and the key of its random numbers. */
  readonly name: string;
  /** The operation: a folder of `native/ops/`. */
  readonly op: string;
  /** The operation's input slots → names of values (parameters, inputs or outputs of earlier nodes). */
  readonly inputs: Readonly<Record<string, string>>;
  readonly attributes?: Readonly<Record<string, Attribute>>;
}
