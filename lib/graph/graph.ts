/**
 * A model as plain data: named axes, parameters and inputs, and nodes in the order of computation. A Graph says what to
 * compute, never how: the native compiler differentiates, fuses and schedules it. It crosses into native code as one JSON
 * text, and a checkpoint keeps the same bytes.
 */
export interface Graph {
  /** Identifies the JSON text. */
  readonly format: 'tesserae.graph';
  /** Version of the format; native code refuses others. */
  readonly version: 2;
  /** The model family, for people. */
  readonly name: string;
  /** The axes whose lengths each batch decides, such as `time`, or `source` and `target`; four at most. */
  readonly lengthAxes: readonly string[];
  /** The axes of parameters and inputs, other than `batch` and the length axes. */
  readonly axes: readonly AxisSpec[];
  /** Trained parameters, and fixed tables such as sinusoidal positions. */
  readonly parameters: readonly ParameterSpec[];
  /** The arrays of a batch: `tokens`, `targets`, …. */
  readonly inputs: readonly InputSpec[];
  /** The operations, each after those whose values it reads. */
  readonly nodes: readonly NodeSpec[];
  /** The values that programs can return, by role: `loss`, `logits`, or any name in a test. */
  readonly outputs: Readonly<Record<string, string>>;
  /** Training minimizes the weighted sum of these losses, four at most. Default: the output `loss`, if there is one. */
  readonly losses?: readonly LossSpec[];
}

/** A loss: the mean over its valid targets. */
export interface LossSpec {
  /** The role of its value in `outputs`, which a `cross_entropy` computes; the first is reported as the loss of a step. */
  readonly output: string;
  /** Weight of its mean in the sum, above 0 and at most 1e6; 1 for the only loss. */
  readonly weight: number;
}

/**
 * The meaning of a factor, which decides its padding: a `width` (features of a layer) and a `head` (features of one
 * attention head) are padded to multiples of 8, a `vocabulary` to multiples of 64, a `count` never.
 */
export type FactorRole = 'count' | 'width' | 'head' | 'vocabulary';

/** One factor of an axis in its logical size; the compiler pads it. */
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
  /** Slowest first; the length of the axis is their product. */
  readonly factors: readonly FactorSpec[];
}

/** The axis that every Graph has without declaring it: the rows of a batch. */
export const BATCH = 'batch';

/** Initial values of a parameter. Random values come from Philox, keyed by the seed and the parameter's name. */
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
  /** Unique; its name in files. */
  readonly name: string;
  /** Names of its axes, slowest first: a linear weight is [out, in]. */
  readonly axes: readonly string[];
  /** Its initial values. */
  readonly init: Initializer;
  /** Whether weight decay applies: true for matrices, false for biases and norms. */
  readonly decay: boolean;
  /** A parameter that is not trainable has no gradient. Default true. */
  readonly trainable?: boolean;
  /** Whether checkpoints hold it. Default true. */
  readonly saved?: boolean;
  /** Whether files hold its transpose (Hugging Face's GPT-2 stores linear weights as [in, out]). Default false. */
  readonly transposedInFiles?: boolean;
}

/** An array of a batch; its kind decides what native code checks. */
export type InputSpec = IdsInput | LengthsInput | StartsInput | PositionsInput | ValuesInput;

interface InputOfBatch {
  /** Unique among parameters, inputs and nodes. */
  readonly name: string;
  /** Names of its axes, slowest first: token ids are [batch, time]. */
  readonly axes: readonly string[];
  /**
   * Whether only programs for packed rows read it; others are compiled as if no node named it. Default false.
   */
  readonly optional?: boolean;
}

/** Ids, int32. */
export interface IdsInput extends InputOfBatch {
  /** Ids of a table or of classes. */
  readonly kind: 'ids';
  /** Ids must be in [0, below); native code refuses other batches. */
  readonly below: number;
  /** An allowed id outside the range: the target value without a loss. */
  readonly ignored?: number;
}

/** The number of positions of each row, without padding, int32 [batch]. */
export interface LengthsInput extends InputOfBatch {
  /** Lengths of rows. */
  readonly kind: 'lengths';
  /** The length axis along which they count. */
  readonly measures: string;
}

/** For each position, the position where its document starts, int32 [batch, a length axis]. */
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

/** Numbers, which the device converts to the type that it computes in. */
export interface ValuesInput extends InputOfBatch {
  /** Numbers. */
  readonly kind: 'values';
  /** Type in the batch: float32, or uint8 (such as the bytes of an image), read as 0 to 255. */
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
  /** The operation's settings, which its contract in native code defines. */
  readonly attributes?: Readonly<Record<string, Attribute>>;
}
