/**
 * Loads the native addon; the only file that touches it. Everything here is internal: classes over opaque handles, with
 * native failures turned into TesseraeError.
 */
import path from 'node:path';
import { exhaustedError, messageOf, TesseraeError, type ErrorCode } from './errors';
import { NativeSession, type SessionCalls, type SessionOptions } from './native_session';
import type {
  MeasuredProduct,
  ModelProducts,
  NamedKernel,
  Precision,
  ProductRequest,
  TunedProduct,
} from './native_products';
import {
  assemble,
  type Batch,
  type CallTiming,
  type Capacity,
  type ProgramRequest,
  type RankShare,
  type RunOptions,
  type RunResult,
} from './native_programs';
import type {
  LossScaler,
  NativeTrainingOptions,
  OptimizerSettings,
  StepCounters,
  StepResult,
} from './native_training';

export { NativeSession } from './native_session';
export { MOST_VISIT } from './native_session';
export type { Finish, SamplingFeatures, SamplingSettings, SessionOptions, Visit } from './native_session';
export type * from './native_training';
export type * from './native_products';
export type * from './native_programs';

/** How a model is made native. */
export interface NativeModelOptions {
  /** 'cpu', 'cuda:<index>', or 'cpu:<number>' for a rank that is a thread of this process. */
  readonly device: string;
  readonly precision: Precision;
  /** Seeds initial weights and every random number of training; an integer in [0, 2^53). */
  readonly seed: number;
  /**
   * The policy by which factors are padded, or, for tests, the multiples to pad to; those that are left out are the default's.
   * Default 'default': { vocabulary: 64, width: 8, head: 8 }.
   */
  readonly padding?: Padding | Partial<Record<'vocabulary' | 'width' | 'head', number>>;
  /** Threads of the CPU's pool. Default: all processors that the process may use. */
  readonly threads?: number;
  /** The table that kernels of matrix products are chosen by. Default: none. */
  readonly products?: readonly TunedProduct[];
}

/**
 * How a model's axes are padded in memory. `default`: the same on every chip, a vocabulary to a multiple of 64, widths and heads to
 * 8. `chip`: widths to whole cache lines of the chip, which are 64 elements in 16-bit precisions, 32 in fp32 and TF32 on a GPU and 16
 * on the CPU.
 */
export type Padding = 'default' | 'chip';

/** A tensor of the model's State. */
export type StateKind = 'parameter' | 'gradient' | 'moment1' | 'moment2' | 'ema';

/** Order of a tensor's elements: the order of its axes, or that of checkpoints. */
export type TensorOrder = 'logical' | 'file';

export interface ParameterInfo {
  readonly name: string;
  /** Logical shape, as files see it before any transposition. */
  readonly shape: readonly number[];
  readonly physicalShape: readonly number[];
}

export interface ModelInfo {
  readonly device: string;
  readonly precision: Precision;
  /** Hash of the physical layout of parameters. */
  readonly layoutHash: string;
  readonly threads: number;
  readonly isa: string;
  /** What the bits of results depend on besides our kernels: the chip and the versions of libraries. */
  readonly arithmetic: string;
  readonly parameters: readonly ParameterInfo[];
}

/** The request of `plan`; everything but the Graph has a default. */
export interface PlanRequest {
  readonly precision?: Precision;
  /** A chip of the table: 'h100', 'a100', …; 'cpu' for this machine's kind. */
  readonly chip?: string;
  readonly rows: number;
  /** Positions of a row along each length axis of the Graph, by name. */
  readonly lengths: Readonly<Record<string, number>>;
  readonly gradientAccumulationSteps?: number;
  /** Bytes of memory that the largest batch must fit; default: the chip's. */
  readonly memory?: number;
  readonly padding?: NativeModelOptions['padding'];
  /** Default AdamW. */
  readonly optimizer?: OptimizerSettings;
  readonly emaDecay?: number;
  /** Names of parameters to freeze, in addition to those that the Graph freezes. */
  readonly frozen?: readonly string[];
  /** In [0, 1), in the form of the kernels. Default 0. */
  readonly labelSmoothing?: number;
  /** The table that kernels of matrix products are chosen by. Default: none. */
  readonly products?: readonly TunedProduct[];
}

interface Addon extends SessionCalls {
  /** Drops queued work and waits for the operation that runs. */
  shutdown(): void;
  devices(): Promise<string>;
  system(): Promise<string>;
  chips(): string;
  plan(graph: string, request: string): string;
  measureProduct(device: string, request: string): Promise<string>;
  createModel(graph: string, options: string[]): Promise<object>;
  modelInfo(model: object): string;
  readProducts(model: object): Promise<string>;
  restoreProducts(model: object, products: string): Promise<string>;
  configureTraining(
    model: object,
    options: string,
    learningRates: Float32Array,
    momenta: Float32Array,
  ): Promise<void>;
  trainStep(model: object, request: string, batches: object[][]): Promise<StepResult>;
  profileStep(
    model: object,
    request: string,
    batches: object[][],
  ): Promise<{ result: StepResult; timings: string }>;
  deviceStatistics(device: string): Promise<DeviceStatistics>;
  run(
    model: object,
    request: string,
    inputs: object,
    options: string,
  ): Promise<{ meta: string; data: ArrayBuffer[] }>;
  readTensor(
    model: object,
    kind: string,
    name: string,
    into: Float32Array,
    asInFiles: boolean,
    rank: number,
  ): Promise<void>;
  writeTensor(
    model: object,
    kind: string,
    name: string,
    from: Float32Array,
    asInFiles: boolean,
  ): Promise<void>;
  readCounters(model: object): Promise<StepCounters>;
  writeCounters(model: object, counters: StepCounters): Promise<void>;
  readScaler(model: object): Promise<LossScaler>;
  writeScaler(model: object, scaler: LossScaler): Promise<void>;
  createSession(model: object, options: string, arrays: object): Promise<object>;
  disposeModel(model: object): void;
}

let loaded: Addon | undefined;

function addon(): Addon {
  if (loaded) return loaded;
  // The pool's idle threads must leave the processor to JavaScript; libgomp reads this once, when it is loaded.
  process.env['OMP_WAIT_POLICY'] ??= 'passive';
  const root = path.resolve(__dirname, '..');
  try {
    const load = require('node-gyp-build') as (directory: string) => Addon;
    const native = load(root);
    // A kernel that still runs while the process unloads its libraries would crash it.
    process.once('exit', () => {
      native.shutdown();
    });
    loaded = native;
    return native;
  } catch (cause) {
    throw new TesseraeError(
      'ERR_NATIVE_LOAD',
      `the native addon could not be loaded on ${process.platform}-${process.arch} with Node ${process.versions.node}: ` +
        `${messageOf(cause)
          .replace(/\s+/g, ' ')
          .replace(/[ .]*$/, '')}. tesserae runs on Linux x64 with glibc 2.34 or newer; ` +
        `in a clone, run ./setup.sh to build it.`,
      { cause },
    );
  }
}

/** Native code fails with plain `{ code, message }`: turn that into a TesseraeError of this realm. */
function translate(failure: unknown): unknown {
  if (typeof failure === 'object' && failure !== null && 'code' in failure && 'message' in failure) {
    const { code, message } = failure;
    if (typeof code === 'string' && code.startsWith('ERR_') && !(failure instanceof Error))
      return new TesseraeError(code as ErrorCode, String(message));
  }
  return exhaustedError('the host ran out of memory', failure) ?? failure;
}

function sync<T>(call: (native: Addon) => T): T {
  const native = addon();
  try {
    return call(native);
  } catch (failure) {
    throw translate(failure);
  }
}

async function async<T>(call: (native: Addon) => Promise<T>): Promise<T> {
  const native = addon();
  try {
    return await call(native);
  } catch (failure) {
    throw translate(failure);
  }
}

/** A device that this build and machine offer. */
export interface DeviceInfo {
  /** Such as `cpu` or `cuda:0`. */
  readonly name: string;
  readonly kind: 'cpu' | 'cuda';
  /** Its name for `plan`; absent for a device that `plan` does not know. */
  readonly chip?: string;
  readonly description: string;
}

/** The devices. The first answer of a driver may take 300 ms. */
export async function devices(): Promise<DeviceInfo[]> {
  return JSON.parse(await async((native) => native.devices())) as DeviceInfo[];
}

/** What the build and the machine have, for `tesserae doctor`; asks the driver, but uses no GPU. */
export interface SystemInfo {
  /** Whether the build has CUDA. */
  readonly cuda: boolean;
  /** Version of oneDNN, whose matrix products the CPU uses. */
  readonly oneDnn: string;
  /** The newest CUDA that the NVIDIA driver serves, 13000 for 13.0; absent without a driver. */
  readonly driver?: number;
  /** The driver's error if it provides no GPU. */
  readonly problem?: string;
  /** All that the driver shows, with their memory in bytes; `supported` are those of sm_80 and newer. */
  readonly gpus: readonly {
    readonly index: number;
    readonly name: string;
    readonly capability: string;
    readonly memory: number;
    readonly supported: boolean;
  }[];
  /** Versions of the libraries that can be opened: 130001 is cuBLASLt 13.0.1, 22703 is NCCL 2.27.3. */
  readonly libraries: { readonly cublasLt?: number; readonly nccl?: number };
}

export async function system(): Promise<SystemInfo> {
  return JSON.parse(await async((native) => native.system())) as SystemInfo;
}

/** What a device has been asked for since it was opened. */
export interface DeviceStatistics {
  /** Allocations of its memory, and of host memory that it copies from. */
  readonly allocations: number;
  /** Times that its thread waited for it. */
  readonly synchronizations: number;
}

export async function deviceStatistics(device: string): Promise<DeviceStatistics> {
  return async((native) => native.deviceStatistics(device));
}

/** The plan of a training step as JSON text; `Plan` in lib/report/plan_table.ts is its type. */
export function plan(graph: object, request: PlanRequest): unknown {
  return JSON.parse(sync((native) => native.plan(JSON.stringify(graph), JSON.stringify(request))));
}

/** Measures a matrix product with every kernel that computes it, on random operands. The device does nothing else meanwhile. */
export async function measureProduct(device: string, request: ProductRequest): Promise<MeasuredProduct[]> {
  const text = await async((native) => native.measureProduct(device, JSON.stringify(request)));
  return JSON.parse(text) as MeasuredProduct[];
}

/** A model in native memory, on one rank or more. One call at a time (but for `trainStep`): a second one while the first runs is ERR_BUSY. */
export class NativeModel {
  private constructor(
    private handle: object | undefined,
    readonly info: ModelInfo,
    readonly seed: number,
    /** Of each rank. */
    readonly devices: readonly string[],
  ) {}

  /** @param devices - of the ranks that train the model together, each another one; `options` are those of each rank. */
  static async create(
    graph: object,
    options: NativeModelOptions,
    devices: readonly string[] = [options.device],
  ): Promise<NativeModel> {
    const ofRanks = devices.map((device) => JSON.stringify({ ...options, device }));
    const handle = await async((native) => native.createModel(JSON.stringify(graph), ofRanks));
    const info = JSON.parse(sync((native) => native.modelInfo(handle))) as ModelInfo;
    return new NativeModel(handle, info, options.seed, devices);
  }

  /** Starts training anew: sets the optimizer, its rates and the loss scale; moments and counters become zero. */
  async configureTraining(options: NativeTrainingOptions): Promise<void> {
    const { learningRates, momenta = new Float32Array(), ...rest } = options;
    await async((native) =>
      native.configureTraining(this.open(), JSON.stringify(rest), learningRates, momenta),
    );
  }

  /** `trainRanks` for a model on one rank. @param samples - rows of each micro-batch that hold a sample. Default: all. */
  async trainStep(
    capacity: Capacity,
    microBatches: readonly Batch[],
    samples: readonly number[] = microBatches.map(() => capacity.rows),
  ): Promise<StepResult> {
    return this.trainRanks(capacity, [{ microBatches, firstSamples: startsOf(samples) }]);
  }

  /**
   * One optimizer step over micro-batches of one capacity. Two may be under way: a GPU then goes from one to
   * the next without waiting for JavaScript. Resolves, in order, when all devices are done with the step. If a rank can't
   * take the step, none does, and the promise rejects with that rank's error.
   *
   * @param shares - of each rank.
   */
  async trainRanks(capacity: Capacity, shares: readonly RankShare[]): Promise<StepResult> {
    const step = JSON.stringify({ ...capacity, firstSamples: shares.map((share) => share.firstSamples) });
    const batches = shares.map(({ microBatches }) => [...microBatches]);
    return async((native) => native.trainStep(this.open(), step, batches));
  }

  /** Like `trainStep`, but measures each call on the device. Returns the calls of all micro-batches in order. */
  async profileStep(
    capacity: Capacity,
    microBatches: readonly Batch[],
  ): Promise<{ result: StepResult; timings: readonly CallTiming[] }> {
    const firstSamples = [startsOf(microBatches.map(() => capacity.rows))];
    const step = JSON.stringify({ ...capacity, firstSamples });
    const { result, timings } = await async((native) =>
      native.profileStep(this.open(), step, [[...microBatches]]),
    );
    return { result, timings: JSON.parse(timings) as CallTiming[] };
  }

  /** Compiles (or finds) a program and runs it once, uncaptured. Outputs have logical shapes. */
  async run(request: ProgramRequest, inputs: Batch, options: RunOptions = {}): Promise<RunResult> {
    const { meta, data } = await async((native) =>
      native.run(this.open(), JSON.stringify(request), inputs, JSON.stringify(options)),
    );
    return assemble(meta, data);
  }

  /**
   * Copies a tensor of the State out: in logical shape, or as files have it (some parameters transposed).
   *
   * @param rank - for tests: all ranks have the same.
   */
  async readTensor(
    kind: StateKind,
    name: string,
    order: TensorOrder = 'logical',
    rank = 0,
  ): Promise<Float32Array> {
    const info = this.info.parameters.find((parameter) => parameter.name === name);
    if (!info) throw new TesseraeError('ERR_CONFIG', `the model has no parameter '${name}'`);
    const into = sync(() => new Float32Array(info.shape.reduce((a, b) => a * b, 1)));
    await async((native) => native.readTensor(this.open(), kind, name, into, order === 'file', rank));
    return into;
  }

  /** Sets a tensor of the State from values in logical order, or in the order of a file. */
  async writeTensor(
    kind: StateKind,
    name: string,
    values: Float32Array,
    order: TensorOrder = 'logical',
  ): Promise<void> {
    await async((native) => native.writeTensor(this.open(), kind, name, values, order === 'file'));
  }

  /** Steps that were attempted and applied, both part of a checkpoint. */
  async counters(): Promise<StepCounters> {
    return async((native) => native.readCounters(this.open()));
  }

  async setCounters(counters: StepCounters): Promise<void> {
    await async((native) => native.writeCounters(this.open(), counters));
  }

  /** The state of dynamic loss scaling, part of a checkpoint; without loss scaling the scale is 1. */
  async scaler(): Promise<LossScaler> {
    return async((native) => native.readScaler(this.open()));
  }

  /** The kernels of the matrix products of all Programs so far. */
  async products(): Promise<ModelProducts> {
    return JSON.parse(await async((native) => native.readProducts(this.open()))) as ModelProducts;
  }

  /**
   * Chooses the kernels of a checkpoint, for products of the same extents. Programs are compiled anew.
   *
   * @returns the entries whose kernel can't be used here: the rule chooses for their products.
   */
  async restoreProducts(products: readonly TunedProduct[]): Promise<NamedKernel[]> {
    const text = await async((native) => native.restoreProducts(this.open(), JSON.stringify({ products })));
    return JSON.parse(text) as NamedKernel[];
  }

  async setScaler(scaler: LossScaler): Promise<void> {
    await async((native) => native.writeScaler(this.open(), scaler));
  }

  /** Sequences to sample: `lib/native_session.ts` documents the options. */
  async createSession(options: SessionOptions): Promise<NativeSession> {
    const { arrays = {}, settings, ...rest } = options;
    const text = JSON.stringify({
      sequences: options.seeds.map(() => 0),
      drawn: options.seeds.map(() => 0),
      endTokens: [],
      stopTokens: [],
      ...rest,
      settings: settings.map((row) => NativeSession.settings(row)),
    });
    const handle = await async((native) => native.createSession(this.open(), text, arrays));
    return new NativeSession(handle, options, async, sync);
  }

  /** Frees native memory once the call in flight has ended. Idempotent. */
  dispose(): void {
    const handle = this.handle;
    this.handle = undefined;
    if (handle) sync((native) => native.disposeModel(handle));
  }

  private open(): object {
    if (!this.handle) throw new TesseraeError('ERR_DISPOSED', 'the model was disposed');
    return this.handle;
  }
}

/** Where each run of so many begins. */
function startsOf(counts: readonly number[]): number[] {
  let next = 0;
  return counts.map((count) => (next += count) - count);
}
