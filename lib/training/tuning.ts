import { z } from 'zod';
import { TesseraeError } from '../errors';
import { anObject } from '../models/argument_schemas';
import { pickDevice, type Device } from '../models/device';
import { resolveModelConfig, type ModelConfig } from '../models/families';
import { paddingSchema } from '../models/padding';
import { parseConfig } from '../models/validation';
import {
  measureProduct,
  system,
  type MatrixProduct,
  type MeasuredProduct,
  type Padding,
  type Precision,
  type ProductRequest,
} from '../native';
import { KERNELS_VERSION, type ProductEntry } from '../products/entry';
import { cacheFile, readCache } from '../products/table';
import type { Plan, PlannedProduct } from '../report/plan_table';
import { distinctProducts, layoutText, piecesText, shapeText } from '../report/product_text';
import type { TrainingArguments } from './arguments';
import { planStep, stepArguments } from './planning';
import { addToCache } from './tuning_cache';

/** Rounds of a product. In each, every kernel runs for about a millisecond. */
const ROUNDS = 20;

/** What to tune, and where. */
export interface TuneOptions {
  /**
   * The training arguments. Only those that affect a step count: batchSize, gradientAccumulationSteps, parameterGroups, …. Default:
   * their defaults, with a batchSize of 8.
   */
  readonly arguments?: Partial<TrainingArguments>;
  /** The GPU. Default 'auto': the first. */
  readonly device?: Device;
  /** Default 'bf16'. */
  readonly precision?: Precision;
  /** The padding policy of the model: products of another one have other extents. Default 'default'. */
  readonly padding?: Padding;
  /** Stops after the product that is being measured. Products that were measured are in the cache. */
  readonly signal?: AbortSignal;
  /** Called before the first product and after each. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** A kernel and its time. */
export interface KernelTime {
  /** Its name: PlannedProduct.kernel. */
  readonly kernel: string;
  /** Seconds of one product: the median of 20 rounds. */
  readonly seconds: number;
}

/** A product of a training step that was measured. */
export interface TunedKernel extends MatrixProduct {
  /** How often a step computes it. */
  readonly runs: number;
  /** The kernel that the rule takes, which is used without a table. */
  readonly before: KernelTime;
  /** The fastest kernel, now in the cache. */
  readonly after: KernelTime;
  /** Roofline time of one product, in seconds. */
  readonly rooflineSeconds: number;
}

/** What `tune` measured. */
export interface TuneResult {
  /** The chip, by its name for `plan`. */
  readonly chip: string;
  /** Precision of the products. */
  readonly precision: Precision;
  /** The cache, which models that you create from now on read. */
  readonly file: string;
  /** The products, in the order of the plan. */
  readonly products: readonly TunedKernel[];
  /** Seconds of all these products in a step. */
  readonly stepSeconds: {
    /** By the rule. */
    readonly before: number;
    /** By the kernels that are now in the cache. */
    readonly after: number;
  };
  /** Whether `signal` stopped it before all products were measured. */
  readonly stopped: boolean;
}

const schema = z.strictObject({
  arguments: anObject<Partial<TrainingArguments>>().default({}),
  device: z.string().default('auto'),
  precision: z.enum(['fp32', 'tf32', 'fp16', 'bf16']).default('bf16'),
  padding: paddingSchema.default('default'),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z
    .custom<NonNullable<TuneOptions['onProgress']>>(
      (value) => typeof value === 'function',
      'must be a function',
    )
    .optional(),
});

/**
 * Measures the matrix products of a training step on the GPU by every kernel that computes them, and keeps the fastest in the
 * cache of the chip (docs/plan_and_profile.md says where that is). Models that you create from now on use them, also for
 * products of nearly the same extents. The GPU should do nothing else meanwhile: in each of 20 rounds every kernel of a product runs
 * for about a millisecond.
 *
 * @param model - the model; rows are nPositions tokens long.
 * @param options - the setting in which to tune it.
 * @throws TesseraeError `ERR_CONFIG` for a wrong setting, `ERR_DEVICE` without a GPU or for one that `plan` does not know,
 * `ERR_DATA` for a cache that can't be read or written, `ERR_OUT_OF_MEMORY` for a product whose matrices don't fit.
 *
 * @example
 * const { stepSeconds } = await tune(
 *   { type: 'gpt2', nLayer: 12, nEmbd: 768, nHead: 12 },
 *   { arguments: { batchSize: 32 } },
 * );
 */
export async function tune(model: ModelConfig, options: TuneOptions = {}): Promise<TuneResult> {
  const {
    arguments: given,
    device: wanted,
    precision,
    padding,
    signal,
    onProgress,
  } = parseConfig(schema, options);
  const resolved = resolveModelConfig(model);
  const args = stepArguments(given, 'arguments');
  const { device, chip } = await requireGpu(wanted);
  readCache(chip); // before anything is measured
  const { cublasLt } = (await system()).libraries;
  return tunePlan(planStep(resolved, args, { chip, precision, padding }, []), {
    ...(signal ? { signal } : {}),
    ...(onProgress ? { onProgress } : {}),
    ...(cublasLt === undefined ? {} : { library: cublasLt }),
    measure: (product) => measureProduct(device, product),
  });
}

async function requireGpu(wanted: string): Promise<{ readonly device: string; readonly chip: string }> {
  const { device, chip, fallbackReason } = await pickDevice(wanted);
  if (device === 'cpu') {
    const why = fallbackReason === undefined ? '' : `: ${fallbackReason}`;
    throw new TesseraeError(
      'ERR_DEVICE',
      `there is nothing to tune on the CPU, where one kernel computes each product. Tuning needs a GPU${why}`,
      { details: { device } },
    );
  }
  if (chip === undefined)
    throw new TesseraeError(
      'ERR_DEVICE',
      `'${device}' can't be tuned: it is not in the table of chips that tesserae plan knows`,
      { details: { device } },
    );
  return { device, chip };
}

/** How the products of a plan are measured. */
export interface TunePlanOptions {
  readonly measure: (product: ProductRequest) => Promise<readonly MeasuredProduct[]>;
  /** Version of cuBLASLt. */
  readonly library?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: NonNullable<TuneOptions['onProgress']>;
}

/**
 * Measures the distinct products of a plan that was made by the rule alone, and adds each to the cache as soon as it is
 * measured.
 */
export async function tunePlan(
  { chip, precision, calls, gradientAccumulationSteps }: Plan,
  { measure, library, signal, onProgress }: TunePlanOptions,
): Promise<TuneResult> {
  const planned = distinctProducts(calls);
  const products: TunedKernel[] = [];
  const entries: ProductEntry[] = [];
  onProgress?.(0, planned.length);
  for (const { product, count } of planned) {
    if (signal?.aborted === true) break;
    const { layout, m, n, k, pieces, result } = product;
    const asked = { layout, m, n, k, pieces, result, precision };
    // One kernel serves both: it stores the first gradients of a step, and adds those of later micro-batches.
    const accumulate = layout === 'weightGradient' && gradientAccumulationSteps > 1;
    const times = timesOf(await measured(measure, { ...asked, accumulate, rounds: ROUNDS }));
    const { before, after } = compare(product, times);
    entries.push({
      ...(asked as Pick<ProductEntry, keyof typeof asked>), // native code has no other names of types
      ...after,
      ...(library === undefined ? {} : { library }),
      kernels: KERNELS_VERSION,
    });
    await addToCache(chip, entries);
    const { rooflineSeconds } = product;
    const runs = count * gradientAccumulationSteps;
    products.push({ layout, m, n, k, pieces, result, runs, before, after, rooflineSeconds });
    onProgress?.(products.length, planned.length);
  }
  const sum = (of: (product: TunedKernel) => number): number =>
    products.reduce((total, product) => total + product.runs * of(product), 0);
  return {
    chip,
    precision,
    file: cacheFile(chip),
    products,
    stepSeconds: { before: sum(({ before }) => before.seconds), after: sum(({ after }) => after.seconds) },
    stopped: products.length < planned.length,
  };
}

/** Names the product if it can't be measured. */
async function measured(
  measure: TunePlanOptions['measure'],
  product: ProductRequest,
): Promise<readonly MeasuredProduct[]> {
  try {
    return await measure(product);
  } catch (cause) {
    if (!(cause instanceof TesseraeError)) throw cause;
    const what = [layoutText(product), shapeText(product), piecesText(product)].filter(Boolean).join(', ');
    throw new TesseraeError(cause.code, `the product ${what} can't be measured: ${cause.message}`, {
      details: { ...cause.details },
      cause,
    });
  }
}

/** Median times of the kernels that can be chosen: not those of pairs, a product and another kernel after it. */
const timesOf = (measured: readonly MeasuredProduct[]): KernelTime[] =>
  measured
    .filter(({ name }) => !name.includes(' + '))
    .map(({ name, seconds }) => ({ kernel: name, seconds: median(seconds) }));

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/** The time of the rule's kernel, and of the fastest. */
function compare(
  { kernel, ...product }: PlannedProduct,
  times: readonly KernelTime[],
): { readonly before: KernelTime; readonly after: KernelTime } {
  // Without the library, or if it has no algorithm, the rule takes the next kernel, which is first in the list.
  const before =
    times.find((one) => one.kernel === (kernel === 'cuBLASLt' ? 'cuBLASLt 1' : kernel)) ?? times[0];
  if (!before)
    throw new TesseraeError(
      'ERR_INTERNAL',
      `no kernel was measured for the product ${layoutText(product)} of ${shapeText(product)}`,
    );
  const after = times.reduce((best, one) => (one.seconds < best.seconds ? one : best), before);
  return { before, after };
}
