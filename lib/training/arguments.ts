import { z } from 'zod';
import { parseConfig } from '../models/validation';
import { LR_SCHEDULERS, learningRateSchedule, type LrSchedulerType } from './schedules';

/** Dynamic loss scaling of fp16, by the rule of PyTorch's GradScaler; it is decided and applied on the device. */
export interface LossScaling {
  /** What the first loss is multiplied by, so that small gradients do not vanish in fp16. Default 65,536. */
  readonly initScale?: number;
  /** What the scale is multiplied by after growthInterval steps without an overflow; at least 1. Default 2. */
  readonly growthFactor?: number;
  /** What it is multiplied by after a step whose gradient was not finite, which is skipped; in (0, 1). Default 0.5. */
  readonly backoffFactor?: number;
  /** Default 2000 steps. */
  readonly growthInterval?: number;
  /** Training stops with `ERR_NON_FINITE` after so many skipped steps in a row. Default 25. */
  readonly maxSkippedSteps?: number;
}

/** How to train. Names are Hugging Face's in camelCase. */
export interface TrainingArguments {
  /** Optimizer steps, 1 to 10,000,000. */
  readonly maxSteps: number;
  /** Rows of a micro-batch. Default 8. */
  readonly batchSize?: number;
  /** Micro-batches whose gradients make one step. Default 1. */
  readonly gradientAccumulationSteps?: number;
  /** The highest learning rate. Default 6e-4. */
  readonly learningRate?: number;
  /** AdamW's decay of matrices; biases and norms have none. Default 0.1. */
  readonly weightDecay?: number;
  /** Default 0.9. */
  readonly adamBeta1?: number;
  /** Default 0.95. */
  readonly adamBeta2?: number;
  /** Default 1e-8. */
  readonly adamEpsilon?: number;
  /** Global norm that gradients are clipped to; 0: no clipping. Default 1. */
  readonly maxGradNorm?: number;
  /** How the rate falls after warmup. Default 'cosine'. */
  readonly lrScheduler?: LrSchedulerType;
  /** The rate at the end of `cosine` (default learningRate ÷ 10) and `linear` (default 0). */
  readonly minLearningRate?: number;
  /** Steps in which the rate rises to learningRate. Default 0. */
  readonly warmupSteps?: number;
  /** Share of each target's probability that is spread over the vocabulary, in [0, 1). Default 0. */
  readonly labelSmoothing?: number;
  /** Only for models in fp16, which always have it. */
  readonly lossScaling?: LossScaling;
  /** Steps between evaluations; 0: at the end only. Default 0. */
  readonly evalSteps?: number;
  /** Batches of one evaluation, at most. Default 20. */
  readonly evalBatches?: number;
  /** Steps between checkpoints in outputDir; 0: at the end only. Default 0. */
  readonly saveSteps?: number;
  /** Checkpoints that are kept in outputDir: the newest, and the one with the least evaluation loss besides; 0: all. Default 0. */
  readonly saveTotalLimit?: number;
  /** Steps between `step` events; a GPU goes from step to step without waiting for JavaScript between them. Default 10. */
  readonly loggingSteps?: number;
  /** Decides which rows each step draws. Default 0. */
  readonly seed?: number;
  /** Folder of checkpoints, `checkpoint-<step>`. Without it none are written. */
  readonly outputDir?: string;
}

/** Training arguments with every default filled in. */
export type ResolvedTrainingArguments = Required<Omit<TrainingArguments, 'outputDir' | 'lossScaling'>> &
  Pick<TrainingArguments, 'outputDir'> & {
    /** Absent unless given: a model in fp16 then has the defaults. */
    readonly lossScaling?: Required<LossScaling>;
  };

const steps = (what: string) => z.int().min(0).max(10_000_000).default(0).describe(what);
const beta = (value: number, what: string) => z.number().min(0).lt(1).default(value).describe(what);

const lossScalingSchema = z.strictObject({
  initScale: z
    .number()
    .gt(0)
    .max(2 ** 127)
    .default(65_536)
    .describe('The first scale'),
  growthFactor: z
    .number()
    .min(1)
    .max(2 ** 64)
    .default(2)
    .describe('How much the scale grows'),
  backoffFactor: z.number().gt(0).lt(1).default(0.5).describe('How much it shrinks after an overflow'),
  growthInterval: z.int().min(1).default(2000).describe('Steps without overflow after which it grows'),
  maxSkippedSteps: z.int().min(1).default(25).describe('Skipped steps in a row that end training'),
});

/** The loss scaling of a model in fp16 that was given none. */
export const DEFAULT_LOSS_SCALING: Required<LossScaling> = lossScalingSchema.parse({});

/** Validates TrainingArguments and fills in the defaults that depend on nothing else. */
export const trainingArgumentsSchema = z.strictObject({
  maxSteps: z.int().min(1).max(10_000_000).describe('Optimizer steps'),
  batchSize: z.int().min(1).max(65_536).default(8).describe('Rows of a micro-batch'),
  gradientAccumulationSteps: z
    .int()
    .min(1)
    .max(65_536)
    .default(1)
    .describe('Micro-batches whose gradients make one step'),
  learningRate: z.number().min(0).max(100).default(6e-4).describe('The highest learning rate'),
  weightDecay: z.number().min(0).max(100).default(0.1).describe("AdamW's decay of matrices"),
  adamBeta1: beta(0.9, "AdamW's beta 1"),
  adamBeta2: beta(0.95, "AdamW's beta 2"),
  adamEpsilon: z.number().gt(0).max(1).default(1e-8).describe("AdamW's epsilon"),
  maxGradNorm: z.number().min(0).max(1e9).default(1).describe('Gradients are clipped to this norm; 0: never'),
  lrScheduler: z.enum(LR_SCHEDULERS).default('cosine').describe('How the rate falls after warmup'),
  minLearningRate: z
    .number()
    .min(0)
    .max(100)
    .optional()
    .describe('The rate at the end (default: a tenth for cosine, 0 for linear)'),
  warmupSteps: steps('Steps in which the rate rises'),
  labelSmoothing: z.number().min(0).lt(1).default(0).describe('Share of probability that is spread evenly'),
  lossScaling: lossScalingSchema.optional().describe('Dynamic loss scaling of fp16'),
  evalSteps: steps('Steps between evaluations; 0: at the end only'),
  evalBatches: z.int().min(1).max(1_000_000).default(20).describe('Batches of one evaluation, at most'),
  saveSteps: steps('Steps between checkpoints; 0: at the end only'),
  saveTotalLimit: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe('Checkpoints that are kept, and the best besides; 0: all'),
  loggingSteps: z.int().min(1).max(10_000_000).default(10).describe('Steps between reports'),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0).describe('Decides which rows are drawn'),
  outputDir: z.string().min(1).optional().describe('Folder of checkpoints'),
});

/** What other libraries call these arguments. */
export const trainingSynonyms = {
  lr: 'learningRate',
  maxIters: 'maxSteps',
  steps: 'maxSteps',
  perDeviceTrainBatchSize: 'batchSize',
  gradientAccumulation: 'gradientAccumulationSteps',
  beta1: 'adamBeta1',
  beta2: 'adamBeta2',
  epsilon: 'adamEpsilon',
  gradClip: 'maxGradNorm',
  lrSchedulerType: 'lrScheduler',
  scheduler: 'lrScheduler',
  minLr: 'minLearningRate',
  warmupIters: 'warmupSteps',
  labelSmoothingFactor: 'labelSmoothing',
  evalInterval: 'evalSteps',
  evalIters: 'evalBatches',
  saveInterval: 'saveSteps',
  logSteps: 'loggingSteps',
  logInterval: 'loggingSteps',
  outDir: 'outputDir',
} as const;

/**
 * Checks the arguments and fills in every default.
 *
 * @param at - where the arguments stand in a larger configuration, for messages.
 * @throws TesseraeError `ERR_CONFIG` with `details.path`.
 */
export function resolveTrainingArguments(options: TrainingArguments, at = ''): ResolvedTrainingArguments {
  const { minLearningRate, outputDir, lossScaling, ...given } = parseConfig(
    trainingArgumentsSchema,
    options,
    {
      at,
      synonyms: trainingSynonyms,
    },
  );
  return {
    ...given,
    minLearningRate: minLearningRate ?? (given.lrScheduler === 'cosine' ? given.learningRate / 10 : 0),
    ...(outputDir === undefined ? {} : { outputDir }),
    ...(lossScaling === undefined ? {} : { lossScaling }),
  };
}

/** The rate of every step. */
export function ratesOf(args: ResolvedTrainingArguments): Float32Array {
  return learningRateSchedule({ ...args, type: args.lrScheduler });
}
