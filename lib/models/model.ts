import { z } from 'zod';
import { TesseraeError } from '../errors';
import { NativeModel, type Padding, type Precision } from '../native';
import type { Graph } from '../graph/graph';
import { usableProducts } from '../products/table';
import { Capacities } from './capacities';
import { taken } from './argument_schemas';
import { reading } from './array_likes';
import { pickDevice, type PickedDevice, rankDevicesSchema, type Device, type RankDevice } from './device';
import {
  buildGraph,
  lengthLimits,
  requireTokens,
  resolveModelConfig,
  type ModelConfig,
  type ResolvedModelConfig,
} from './families';
import type { TokenSettings } from './family';
import { extraInputsSchema, packBatch, type ExtraInputs, type TokenRows } from './inputs';
import { isPacked, type PackedBatch } from './packed_batch';
import { paddingSchema } from './padding';
import { parseConfig } from './validation';

/** Options of a model. */
export interface ModelOptions {
  /** The device. Default 'auto': the first GPU, or the CPU. */
  readonly device?: Device;
  /**
   * The ranks that train the model together, in place of `device`: `['cpu:0', 'cpu:1']`, at most 64. Each is a thread of this
   * process with a copy of the model; the rows of every batch are divided among them (docs/distributed.md). Default: one rank.
   */
  readonly devices?: readonly RankDevice[];
  /** How ranks share the work: `ddp` adds up their gradients in every step. Only with `devices`. Default 'ddp'. */
  readonly strategy?: 'ddp';
  /** Precision of matrix products. Default 'fp32' on the CPU, 'bf16' on a GPU. */
  readonly precision?: Precision;
  /** Seeds initial weights and dropout; an integer in [0, 2^53). Default 0. */
  readonly seed?: number;
  /**
   * Number of CPU threads, of each rank if there are several, 1 to 1024. Default: all processors that the process may use,
   * divided among the ranks.
   */
  readonly threads?: number;
  /**
   * How axes are padded in memory: 'default', the same on every chip, or 'chip', with widths of whole cache lines of the chip.
   * Results are the same up to rounding, and checkpoints fit both. Default 'default'.
   */
  readonly padding?: Padding;
}

/** A tensor in JavaScript memory, dense and in row-major order. */
export interface FloatTensor {
  /** Extents, slowest first: [B, T, V]. */
  readonly shape: readonly number[];
  /** The elements; their number is the product of the shape. */
  readonly data: Float32Array;
}

/** Validates ModelOptions. */
export const modelOptionsSchema = z.strictObject({
  device: z.string().optional(),
  devices: rankDevicesSchema.optional(),
  strategy: z.enum(['ddp']).optional(),
  precision: z.enum(['fp32', 'tf32', 'fp16', 'bf16']).optional(),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  threads: z.int().min(1).max(1024).optional(),
  padding: paddingSchema.default('default'),
});

const leaked = new FinalizationRegistry<NativeModel>((native) => native.dispose());

/**
 * A Transformer with its weights, on a device. Weights live in native memory: call `dispose()`, or declare the model with
 * `using`, when it is no longer needed.
 *
 * @example
 * const model = await Model.create({ type: 'gpt2', vocabSize: 256, nPositions: 128, nEmbd: 128, nLayer: 4, nHead: 4 });
 * const { shape, data } = await model.logits([[72, 101, 108, 108, 111]]); // shape [1, 5, 256]
 * model.dispose();
 */
export class Model {
  /** Number of trained logical parameters, each counted once: a tied head and padding add nothing. */
  readonly parameterCount: number;
  /** The device of the weights: 'cpu' or 'cuda:0', …; of several ranks the first one's. */
  readonly device: string;
  /** Why `device: 'auto'` chose the CPU; absent otherwise. */
  readonly fallbackReason?: string;
  /**
   * Why the cache of `tesserae tune` is not used; absent if it is, or if there is none.
   *
   * @internal
   */
  cacheProblem?: TesseraeError;
  private readonly capacities: Capacities;

  private constructor(
    /** The configuration with every default filled in. */
    readonly config: ResolvedModelConfig,
    /** The computation of the model. */
    readonly graph: Graph,
    /** @internal */
    readonly native: NativeModel,
    /** How axes are padded in memory. */
    readonly padding: Padding,
    fallbackReason: string | undefined,
  ) {
    this.device = native.info.device;
    this.capacities = new Capacities(lengthLimits(config));
    if (fallbackReason !== undefined) this.fallbackReason = fallbackReason;
    const trained = new Set(
      graph.parameters.filter(({ trainable }) => trainable !== false).map(({ name }) => name),
    );
    this.parameterCount = native.info.parameters
      .filter(({ name }) => trained.has(name))
      .reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    leaked.register(this, native, this);
  }

  /**
   * Creates a model with random weights, which depend only on the configuration and the seed.
   *
   * @param config - the family and its settings; settings that you leave out have their defaults.
   * @param options - device or ranks, precision, seed, threads and padding.
   * @throws TesseraeError `ERR_CONFIG` for a wrong setting, `ERR_DEVICE` for a device that does not exist or for more threads
   * than the system allows, `ERR_OUT_OF_MEMORY` if the weights do not fit.
   */
  static async create(config: ModelConfig, options: ModelOptions = {}): Promise<Model> {
    const resolved = resolveModelConfig(config);
    const given = parseConfig(modelOptionsSchema, options);
    const { devices, chip, fallbackReason } = await devicesOf(given);
    const [device = 'cpu'] = devices;
    const graph = buildGraph(resolved);
    const precision = given.precision ?? (device.startsWith('cpu') ? 'fp32' : 'bf16');
    const table = chip === undefined ? { products: [] } : usableProducts(chip, precision);
    const ofEachRank = {
      device,
      precision,
      seed: given.seed,
      products: table.products,
      ...(given.threads === undefined ? {} : { threads: given.threads }),
      padding: given.padding,
    };
    const native = await NativeModel.create(graph, ofEachRank, devices);
    const model = new Model(resolved, graph, native, given.padding, fallbackReason);
    if (table.problem) model.cacheProblem = table.problem;
    return model;
  }

  /**
   * The token settings of the model.
   *
   * @internal
   * @param what - what needs them, for the message.
   * @throws TesseraeError `ERR_CONFIG` for a model that reads none.
   */
  tokens(what: string): TokenSettings {
    return requireTokens(this.config, what);
  }

  /** The device of each rank. */
  get devices(): readonly string[] {
    return this.native.devices;
  }

  /** Precision of matrix products. */
  get precision(): Precision {
    return this.native.info.precision;
  }

  /** Number of CPU threads, of each rank. */
  get threads(): number {
    return this.native.info.threads;
  }

  /**
   * Computes the scores of the next token (for an encoder: of the position's own target) at every position.
   *
   * @param tokens - B rows of equal length T, or one row as an Int32Array; T at most nPositions. Or a packed batch with all
   * inputs.
   * @param extra - types and subtypes, for a model that has them.
   * @returns shape [B, T, vocabSize].
   * @throws TesseraeError `ERR_DATA` or `ERR_SHAPE` for tokens that the model can't read, `ERR_CONFIG` for any other extra,
   * `ERR_BUSY` while the model is at work, `ERR_DISPOSED` after `dispose()`.
   */
  async logits(tokens: TokenRows | PackedBatch, extra: ExtraInputs = {}): Promise<FloatTensor> {
    return this.forward('logits', tokens, extra);
  }

  /** Like `logits`, with the same errors, but returns log-probabilities: log-softmax over the vocabulary, in nats. */
  async logProbs(tokens: TokenRows | PackedBatch, extra: ExtraInputs = {}): Promise<FloatTensor> {
    return this.forward('logProbs', tokens, extra);
  }

  /** Frees native memory once the call in flight has ended; later calls throw `ERR_DISPOSED`. May be called twice. */
  dispose(): void {
    leaked.unregister(this);
    this.native.dispose();
  }

  /** Calls `dispose()`, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  private async forward(
    output: 'logits' | 'logProbs',
    tokens: TokenRows | PackedBatch,
    extra: ExtraInputs,
  ): Promise<FloatTensor> {
    const more = parseConfig(extraInputsSchema, extra) as ExtraInputs;
    const batch = reading({ name: 'tokens', code: 'ERR_DATA' }, () => {
      if (!isPacked(tokens)) return { tokens, ...more };
      const [name] = Object.keys(more);
      if (name === undefined) return tokens;
      throw new TesseraeError(
        'ERR_CONFIG',
        `${name} is given next to a packed batch: put it into the inputs of the batch`,
        {
          details: { path: name },
        },
      );
    });
    const options = { targets: false, capacity: this.capacities };
    const { capacity, inputs, lengths } = packBatch(this, batch, options);
    const time = lengths[0] ?? 0;
    const unequal = lengths.findIndex((length) => length !== time);
    if (unequal >= 0)
      throw new TesseraeError(
        'ERR_SHAPE',
        `row ${unequal} has ${lengths[unequal] ?? 0} tokens, but row 0 has ${time}: rows must be of equal length here`,
        { details: { row: unequal } },
      );
    const result = await this.native.run({ mode: 'eval', ...capacity, outputs: [output] }, inputs);
    const value = result.outputs[output];
    if (!value) throw new TesseraeError('ERR_INTERNAL', `the output '${output}' is missing`);
    const data = value.data as Float32Array;
    const { vocabSize } = this.tokens('logits()');
    const shape = [lengths.length, time, vocabSize];
    return {
      shape,
      data: cutRows(data, lengths.length, (capacity.lengths['time'] ?? 1) * vocabSize, time * vocabSize),
    };
  }
}

/** The devices that options ask for. */
async function devicesOf({
  device,
  devices,
  strategy,
}: z.output<typeof modelOptionsSchema>): Promise<
  Omit<PickedDevice, 'device'> & { devices: readonly string[] }
> {
  const refuse = (path: string, message: string): never => {
    throw new TesseraeError('ERR_CONFIG', message, { details: { path } });
  };
  if (devices === undefined) {
    if (strategy !== undefined)
      refuse('strategy', 'strategy is for ranks: give devices, or leave strategy out');
    const { device: picked, ...rest } = await pickDevice(device ?? 'auto');
    return { devices: [picked], ...rest };
  }
  if (device !== undefined) refuse('device', 'device and devices are both given: give only one of them');
  return { devices };
}

/** Takes a Model. */
export const aModel = taken<Model>((value) => value instanceof Model, 'a Model');

/** The first `wanted` values of every `stride`, for `rows` rows. */
function cutRows(data: Float32Array, rows: number, stride: number, wanted: number): Float32Array {
  if (data.length === rows * wanted) return data;
  const cut = new Float32Array(rows * wanted);
  for (let r = 0; r < rows; r++) cut.set(data.subarray(r * stride, r * stride + wanted), r * wanted);
  return cut;
}
