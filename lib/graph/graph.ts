/**
 * A model as plain data: named axes, parameters and inputs, and nodes in the order in which they compute. A Graph says
 * what is computed, never how: the native compiler differentiates, fuses and schedules it. It crosses into native code
 * as one JSON text, and the same bytes are kept in a checkpoint.
 */
export interface Graph {
  /** Says what the JSON text is. */
  readonly format: 'tesserae.graph';
  /** Of the format; native code refuses others. */
  readonly version: 2;
  /** The model family, for people. */
  readonly name: string;
  /** The axes whose lengths each batch decides, such as `time`, or `source` and `target`; four at most. */
  readonly lengthAxes: readonly string[];
  /** The axes that parameters and inputs name, beside `batch` and the length axes. */
  readonly axes: readonly AxisSpec[];
  /** What is learnt, and fixed tables such as sinusoidal positions. */
  readonly parameters: readonly ParameterSpec[];
  /** What a batch brings: `tokens`, `targets`, …. */
  readonly inputs: readonly InputSpec[];
  /** The operations, each after those whose values it reads. */
  readonly nodes: readonly NodeSpec[];
  /** The values that programs can ask for, by role: `loss`, `logits`, or any name in a test. */
  readonly outputs: Readonly<Record<string, string>>;
  /** What training makes small: the weighted sum of these losses, four at most. Default: the output `loss`, if there is one. */
  readonly losses?: readonly LossSpec[];
}

/** A loss: the mean over its valid targets. */
export interface LossSpec {
  /** The role of its value in `outputs`, which a `cross_entropy` computes; the first is reported as the loss of a step. */
  readonly output: string;
  /** What its mean is multiplied by in the sum, greater than 0 and at most 1e6. */
  readonly weight: number;
}

/**
 * What a factor stands for, which decides how it is padded: a `width` (features of a layer) and a `head` (features of
 * one attention head) to multiples of 8, a `vocabulary` to multiples of 64, a `count` never.
 */
export type FactorRole = 'count' | 'width' | 'head' | 'vocabulary';

/** One factor of an axis, in logical size: padding is the compiler's. */
export interface FactorSpec {
  /** Logical extent, at least 1. */
  readonly size: number;
  /** How it is padded. */
  readonly role: FactorRole;
}

/** An axis is a product of factors, slowest first: the packed QKV axis is 3 · heads · headDim. */
export interface AxisSpec {
  /** Unique in the Graph. */
  readonly name: string;
  /** Slowest first; the axis is as long as their product. */
  readonly factors: readonly FactorSpec[];
}

/** The axis that every Graph has without declaring it: the rows of a batch. */
export const BATCH = 'batch';

/** How a parameter starts. Random ones are drawn from Philox keyed by the seed and the parameter's name. */
export type Initializer =
  | {
      /** Normal with mean 0. */
      readonly type: 'normal';
      /** Standard deviation, at least 0. */
      readonly std: number;
    }
  | {
      /** The same value everywhere. */
      readonly type: 'constant';
      /** That value. */
      readonly value: number;
    }
  | {
      /** Sinusoidal positions (Vaswani et al. 2017, section 3.5), sine and cosine interleaved. */
      readonly type: 'sinusoidal';
    };

/** A parameter of a Graph. */
export interface ParameterSpec {
  /** Unique; files have it under this name. */
  readonly name: string;
  /** Names of its axes, slowest first: a linear weight is [out, in]. */
  readonly axes: readonly string[];
  /** Its first values. */
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

/** An array of a batch; its kind says what native code checks. */
export type InputSpec = IdsInput | LengthsInput | StartsInput | PositionsInput | ValuesInput;

interface InputOfBatch {
  /** Unique among parameters, inputs and nodes. */
  readonly name: string;
  /** Names of its axes, slowest first: token ids are [batch, time]. */
  readonly axes: readonly string[];
  /**
   * An input that only programs for packed rows read: others are compiled without it, as if no node named it. Default
   * false.
   */
  readonly optional?: boolean;
}

/** Ids, int32. */
export interface IdsInput extends InputOfBatch {
  /** Ids of a table or of classes. */
  readonly kind: 'ids';
  /** Ids must lie in [0, below); native code refuses a batch that breaks this. */
  readonly below: number;
  /** An id outside the range that is allowed all the same: the target that no loss is computed for. */
  readonly ignored?: number;
}

/** How many positions of each row count, int32 [batch]. */
export interface LengthsInput extends InputOfBatch {
  /** Lengths of rows. */
  readonly kind: 'lengths';
  /** The length axis along which they count. */
  readonly measures: string;
}

/** For each position the one at which its document starts, int32 [batch, a length axis]. */
export interface StartsInput extends InputOfBatch {
  /** Starts of documents. */
  readonly kind: 'starts';
}

/**
 * For each position one along a length axis, int32 [batch, a length axis]. Two of them are ranges: `keyBegin` and
 * `keyEnd` say which keys each query of `attention` sees.
 */
export interface PositionsInput extends InputOfBatch {
  /** Positions along a length axis. */
  readonly kind: 'positions';
  /** The length axis that they point into. Positions must lie in [0, its length]; native code refuses a batch that breaks this. */
  readonly measures: string;
}

/** Numbers; the device turns them into the type that it computes in. */
export interface ValuesInput extends InputOfBatch {
  /** Numbers. */
  readonly kind: 'values';
  /** What the batch has: float32, or bytes such as those of an image, which count as 0 to 255. */
  readonly dtype: 'float32' | 'uint8';
}

/** A setting of an operation, such as the epsilon of a norm. */
export type Attribute = number | string | boolean;

/** One operation of a Graph. */
export interface NodeSpec {
  /** Unique; names the node, the value that it computes, and the key of its random numbers. */
  readonly name: string;
  /** The operation: a folder of `native/ops/`. */
  readonly op: string;
  /** The operation's input slots → names of values (parameters, inputs or outputs of earlier nodes). */
  readonly inputs: Readonly<Record<string, string>>;
  /** The operation's settings; its contract in native code says which there are. */
  readonly attributes?: Readonly<Record<string, Attribute>>;
}
