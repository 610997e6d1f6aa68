/** What native programs are compiled for, what they read and what they hand out. lib/native.ts exports the types. */
import { TesseraeError } from './errors';

/** The batches that a program is compiled for; smaller ones are padded. */
export interface Capacity {
  /** Rows, at least 1. */
  readonly rows: number;
  /** Positions of a row along each length axis of the Graph, by name: `{ time: 1024 }`. */
  readonly lengths: Readonly<Record<string, number>>;
  /** Whether a row may hold several documents, which don't see each other. Default false: the program reads less. */
  readonly documents?: boolean;
}

/** What a program is compiled for: to train or to evaluate. Programs for sampling belong to a session. */
export type ProgramRequest = TrainRequest | EvalRequest;

/** The loss and its gradients. */
export interface TrainRequest extends ForwardRequest {
  readonly mode: 'train';
  /** Label smoothing of the training loss in [0, 1). Default 0. */
  readonly labelSmoothing?: number;
  /** For tests: Graph output → float input that is its gradient, in place of a loss. */
  readonly outputGradients?: Readonly<Record<string, string>>;
  /** For tests: float inputs whose gradients become outputs named `d(<input>)`. */
  readonly gradientsOf?: readonly string[];
}

/** Outputs of the Graph, without dropout or label smoothing. */
export interface EvalRequest extends ForwardRequest {
  readonly mode: 'eval';
}

interface ForwardRequest extends Capacity {
  /** Outputs of the Graph that the program hands out. Default: the Graph's losses. */
  readonly outputs?: readonly string[];
  /** For tests: compile without rewrite rules. Default true. */
  readonly rewrite?: boolean;
}

/** Values of an input, by its dtype: int32, float32 or uint8. */
export type InputArray = Int32Array | Float32Array | Uint8Array;

/** Arrays of a batch by input name, each dense in the logical shape of its input at the program's capacity. */
export type Batch = Readonly<Record<string, InputArray>>;

/** Options of an uncaptured run: one operation at a time, for tests, profiling and diagnosis. */
export interface RunOptions {
  /** Hand out what every operation computed. */
  readonly tap?: boolean;
  /** Fill workspace with NaN before the run. */
  readonly poison?: boolean;
  /** Measure each operation. */
  readonly timing?: boolean;
  /** Give every buffer an allocation of its own, for memory checkers. */
  readonly separate?: boolean;
}

export interface TensorValue {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array;
}

export interface RunResult {
  readonly outputs: Readonly<Record<string, TensorValue>>;
  /** With `tap`: outputs of each operation in order; padded lanes included (`physical` shapes). */
  readonly taps: readonly {
    readonly call: string;
    readonly operation: string;
    readonly output: string;
    readonly value: TensorValue;
  }[];
  /** With `timing`: seconds of each operation in order. */
  readonly timings: readonly Omit<CallTiming, 'section'>[];
}

/** The time of an operation call of a step on the device. */
export interface CallTiming {
  readonly section: 'micro' | 'update';
  readonly call: string;
  readonly operation: string;
  readonly seconds: number;
}

/** One rank's share of a step. */
export interface RankShare {
  /** All ranks have equally many. */
  readonly microBatches: readonly Batch[];
  /** Number of each micro-batch's first row in the step, over all micro-batches and ranks: random numbers depend on it. */
  readonly firstSamples: readonly number[];
}

const arrayTypes = { float32: Float32Array, float64: Float64Array, int32: Int32Array } as const;
interface TensorMeta {
  shape: number[];
  dtype: keyof typeof arrayTypes;
  index: number;
}

/** A result from its description and its buffers. */
export function assemble(meta: string, data: readonly ArrayBuffer[]): RunResult {
  const parsed = JSON.parse(meta) as {
    outputs: Record<string, TensorMeta>;
    taps: { call: string; operation: string; output: string; value: TensorMeta }[];
    timings: { call: string; operation: string; seconds: number }[];
  };
  const tensor = ({ shape, dtype, index }: TensorMeta): TensorValue => {
    const buffer = data[index];
    if (!buffer) throw new TesseraeError('ERR_INTERNAL', 'a result of native code is missing');
    return { shape, data: new arrayTypes[dtype](buffer) };
  };
  return {
    outputs: Object.fromEntries(Object.entries(parsed.outputs).map(([name, value]) => [name, tensor(value)])),
    taps: parsed.taps.map(({ value, ...rest }) => ({ ...rest, value: tensor(value) })),
    timings: parsed.timings,
  };
}
