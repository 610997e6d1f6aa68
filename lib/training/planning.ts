import { z } from 'zod';
import type { Graph } from '../graph/graph';
import { classesOf } from '../graph/losses';
import {
  buildGraph,
  lengthLimits,
  resolveModelConfig,
  type ModelConfig,
  type ResolvedModelConfig,
} from '../models/families';
import { reading } from '../models/array_likes';
import { anObject } from '../models/argument_schemas';
import { paddingSchema } from '../models/padding';
import { parseConfig, withoutUndefined } from '../models/validation';
import { plan, type Padding, type PlanRequest, type Precision, type TunedProduct } from '../native';
import { tunedProducts } from '../products/table';
import type { Plan } from '../report/plan_table';
import {
  resolveTrainingArguments,
  type ResolvedTrainingArguments,
  type TrainingArguments,
} from './arguments';
import { kernelSmoothing } from './label_smoothing';
import { nativeOptimizer } from './optimizer_settings';
import { parameterSettings, trainedNames } from './parameter_groups';

/** The setting in which to plan a training step. */
export interface PlanOptions {
  /**
   * The training arguments. Only those that affect a step count: batchSize, gradientAccumulationSteps, the optimizer,
   * parameterGroups, emaDecay, labelSmoothing. Default: their defaults, with a batchSize of 8.
   */
  readonly arguments?: Partial<TrainingArguments>;
  /** A chip of the table, such as 'h100', 'a100' or 'cpu'; this machine need not have it. Default 'cpu'. */
  readonly chip?: string;
  /** Default 'bf16' for a GPU, 'fp32' for the CPU. */
  readonly precision?: Precision;
  /** The padding policy of the model. Default 'default'. */
  readonly padding?: Padding;
  /** Memory that the largest batch has to fit, in bytes. Default: that of the chip. */
  readonly memory?: number;
}

const schema = z.strictObject({
  arguments: anObject<Partial<TrainingArguments>>().default({}),
  chip: z.string().optional(),
  precision: z.enum(['fp32', 'tf32', 'fp16', 'bf16']).optional(),
  padding: paddingSchema.optional(),
  memory: z.number().min(0).max(9e15).optional(),
});

/**
 * Plans a training step without running it: its operations with shapes, work and roofline time, its memory by owner, and
 * the largest batch that fits. Nothing is allocated. It takes some milliseconds on the calling thread. Kernels of matrix products
 * are those that training would use on the chip: those in the cache that `tune` fills, if they were measured.
 *
 * @param model - the model; rows are nPositions tokens long.
 * @param options - the setting in which to plan it.
 * @throws TesseraeError `ERR_CONFIG` for a wrong setting or a chip that is not in the table, `ERR_DEVICE` for a precision
 * that the chip does not have, `ERR_DATA` for a cache that can't be read.
 *
 * @example
 * const { largestBatch, stepSeconds } = planTraining(
 *   { type: 'gpt2', nLayer: 12, nEmbd: 768, nHead: 12 },
 *   { chip: 'h100', precision: 'bf16', arguments: { batchSize: 32 } },
 * );
 */
export function planTraining(model: ModelConfig, options: PlanOptions = {}): Plan {
  const { arguments: given, ...request } = parseConfig(schema, options);
  return planStep(resolveModelConfig(model), stepArguments(given, 'arguments'), withoutUndefined(request));
}

/** The training arguments of a planned step; the number of steps does not matter. */
export function stepArguments(given: Partial<TrainingArguments>, at: string): ResolvedTrainingArguments {
  const whole = reading({ name: at, path: at, code: 'ERR_CONFIG' }, () => ({ maxSteps: 1, ...given }));
  return resolveTrainingArguments(whole, at);
}

/**
 * The plan of a step of a model, with checked arguments.
 *
 * @param products - the table that kernels of matrix products are chosen by. Default: that of the chip.
 */
export function planStep(
  model: ResolvedModelConfig,
  args: ResolvedTrainingArguments,
  request: Pick<PlanRequest, 'chip' | 'precision' | 'padding' | 'memory'>,
  products: readonly TunedProduct[] = tableOf(request.chip),
): Plan {
  const graph = buildGraph(model);
  const { batchSize: rows, gradientAccumulationSteps } = args;
  const settings = planSettings(args, graph);
  return plan(graph, {
    ...request,
    rows,
    lengths: lengthLimits(model),
    gradientAccumulationSteps,
    ...settings,
    products,
  }) as Plan;
}

/** An unknown chip has none, and the plan refuses it. */
const tableOf = (chip = 'cpu'): TunedProduct[] => (/^\w+$/.test(chip) ? tunedProducts(chip) : []);

/**
 * The training arguments that decide which operations a step has and what it keeps in memory.
 *
 * @throws TesseraeError `ERR_CONFIG` for parameter groups that don't fit the Graph.
 */
export function planSettings(
  args: ResolvedTrainingArguments,
  graph: Graph,
): Required<Pick<PlanRequest, 'optimizer' | 'emaDecay' | 'frozen' | 'labelSmoothing'>> {
  const settings = parameterSettings(args.parameterGroups ?? [], trainedNames(graph));
  const frozen = Object.keys(settings).filter((name) => settings[name]?.trainable === false);
  return {
    optimizer: nativeOptimizer(args),
    emaDecay: args.emaDecay,
    frozen,
    labelSmoothing: kernelSmoothing(args, classesOf(graph)),
  };
}
