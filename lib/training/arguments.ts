import { createHash } from 'node:crypto';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import { reading } from '../models/array_likes';
import { fp32 } from '../models/device_numbers';
import { integer, settings } from '../models/settings';
import { parseConfig, withoutUndefined } from '../models/validation';
import type { TrainingArguments } from './arguments.generated';
import { earlyStoppingSchema, type EarlyStoppingOptions } from './early_stopping';
import { lossScalingSchema, type LossScaling } from './loss_scaling';
import {
  optimizerArgumentsSchema,
  optimizerSchema,
  resolveOptimizer,
  type OptimizerArguments,
} from './optimizer_settings';
import { parameterGroupSchema } from './parameter_groups';
import { lrSchedulerKwargsSchema, lrSchedulerSchema } from './schedule_settings';
import {
  learningRateSchedule,
  momentumSchedule,
  schedulePhases,
  type ScheduleOptions,
  type SchedulePhase,
} from './schedules';

export type * from './arguments.generated';

/** Training arguments with every default filled in. */
export type ResolvedTrainingArguments = Required<Omit<TrainingArguments, OptionalArgument>> &
  Pick<TrainingArguments, Exclude<OptionalArgument, 'lossScaling' | 'earlyStopping'>> & {
    /** Absent unless given; without it a model in fp16 uses the defaults. */
    readonly lossScaling?: Required<LossScaling>;
    /** Absent unless given; without it no evaluation ends the run. */
    readonly earlyStopping?: Required<EarlyStoppingOptions>;
  };

/** The arguments that stay absent unless they are given. */
type OptionalArgument =
  | 'earlyStopping'
  | 'lossScaling'
  | 'lrSchedulerKwargs'
  | 'outputDir'
  | 'parameterGroups'
  | 'warmupInitLearningRate'
  | keyof OptimizerArguments;

const steps = (what: string) => integer(0, 10_000_000).default(0).describe(what);
const count = (most: number, what: string) => integer(1, most).describe(what);
const rate = (what: string) => fp32(z.number().min(0).max(100)).describe(what);

/** Validates LabelSmoothingType. */
export const labelSmoothingTypeSchema = z
  .enum(['uniform', 'others'])
  .describe('How label smoothing spreads probability.')
  .register(settings, { name: 'LabelSmoothingType' });

/** Names of these arguments in other libraries. */
const synonyms = {
  lr: 'learningRate',
  optimizer: 'optim',
  sgdMomentum: 'momentum',
  freeze: 'parameterGroups',
  paramGroups: 'parameterGroups',
  ema: 'emaDecay',
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
  lrEnd: 'minLearningRate',
  warmupInitLr: 'warmupInitLearningRate',
  numWarmupSteps: 'warmupSteps',
  earlyStoppingPatience: 'earlyStopping',
  minLr: 'minLearningRate',
  warmupIters: 'warmupSteps',
  labelSmoothingFactor: 'labelSmoothing',
  evalInterval: 'evalSteps',
  evalIters: 'evalBatches',
  saveInterval: 'saveSteps',
  logSteps: 'loggingSteps',
  logInterval: 'loggingSteps',
  outDir: 'outputDir',
};

/** Validates TrainingArguments and fills in the defaults that depend on nothing else. */
export const trainingArgumentsSchema = z
  .strictObject({
    maxSteps: count(10_000_000, 'Optimizer steps.'),
    batchSize: count(65_536, 'Rows of a micro-batch, over all ranks.').default(8),
    gradientAccumulationSteps: count(65_536, 'Micro-batches whose gradients make one step.').default(1),
    learningRate: rate('The highest learning rate; not needed with a schedule of your own.').default(6e-4),
    optim: optimizerSchema
      .default('adamw')
      .describe('The optimizer: AdamW; Adam with L2 decay; SGD; RAdam (see docs/optimizers.md).'),
    weightDecay: rate(
      'Weight decay of matrices; biases and norms have none. `adamw` shrinks the weights by it, others add it to the ' +
        'gradient (`radam` as decoupledWeightDecay says). Default 0.1 for `adamw`, 0 for others.',
    ).optional(),
    ...optimizerArgumentsSchema.shape,
    parameterGroups: z
      .array(parameterGroupSchema)
      .optional()
      .describe(
        'Groups of parameters with settings of their own; the first group that matches a parameter decides.',
      ),
    emaDecay: fp32(z.number().min(0).lt(1))
      .default(0)
      .describe(
        'Keeps an exponential moving average of the parameters, ema = emaDecay · ema + (1 − emaDecay) · parameters after every ' +
          'applied step, and saves it in checkpoints; 0: none. Evaluations use the parameters, not the average.',
      ),
    maxGradNorm: fp32(z.number().min(0).max(1e9))
      .default(1)
      .describe('Global norm that gradients are clipped to; 0: no clipping.'),
    lrScheduler: lrSchedulerSchema
      .default('cosine')
      .describe(
        'How the rate falls after warmup: a name, or in TypeScript a function from steps applied to the rate.',
      )
      // The schema is for JSON, which has no functions.
      .register(settings, {
        type: 'LrSchedulerType | LrScheduleFunction',
        imports: { LrScheduleFunction: './schedule_settings' },
      }),
    lrSchedulerKwargs: lrSchedulerKwargsSchema
      .optional()
      .describe('Settings that only some schedules have, such as `numCycles`.'),
    minLearningRate: rate(
      'The rate at the end of `cosine` and `cosineWithRestarts` (default learningRate ÷ 10), `linear`, `polynomial` and ' +
        '`warmupStableDecay` (default 0); other schedules have none.',
    ).optional(),
    warmupSteps: steps(
      'Steps in which the rate rises to learningRate. If 0, `oneCycle` rises for 30 % of maxSteps.',
    ),
    warmupInitLearningRate: rate(
      'The first rate of warmup, at most learningRate. Default learningRate ÷ warmupSteps; Hugging Face uses 0.',
    ).optional(),
    labelSmoothing: fp32(z.number().min(0).lt(1))
      .default(0)
      .describe("Share ε of each target's probability that moves to other tokens."),
    labelSmoothingType: labelSmoothingTypeSchema
      .default('uniform')
      .describe(
        'Which tokens receive it: with `uniform`, each of the V tokens, the target included, gets ε ÷ V (PyTorch, fairseq ' +
          'before 2021); with `others`, each other token gets ε ÷ (V − 1) (fairseq since 2021).',
      ),
    lossScaling: lossScalingSchema
      .optional()
      .describe('Dynamic loss scaling. Only models in fp16 use it, and they always do.'),
    evalSteps: steps('Steps between evaluations; 0: at the end only.'),
    earlyStopping: earlyStoppingSchema
      .optional()
      .describe('Ends the run when evaluations stop improving; needs evalSteps. Default: never.'),
    evalBatches: count(1_000_000, 'Largest number of batches in one evaluation.').default(20),
    saveSteps: steps('Steps between checkpoints in outputDir; 0: at the end only.'),
    saveTotalLimit: integer(0, 1_000_000)
      .default(0)
      .describe(
        'Newest checkpoints to keep in outputDir, in addition to the best and those with a file `pinned`; 0: all.',
      ),
    saveBestLimit: integer(0, 1_000_000)
      .default(1)
      .describe(
        'Checkpoints with the lowest evaluation loss to keep in addition to those of saveTotalLimit.',
      ),
    loggingSteps: count(
      10_000_000,
      'Steps between `step` events. Between events a GPU goes from step to step without waiting for JavaScript.',
    ).default(10),
    seed: integer(0, Number.MAX_SAFE_INTEGER).default(0).describe('Decides which rows each step draws.'),
    outputDir: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Folder of checkpoints, `checkpoint-<step>`. Default: a Trainer writes none; the command line uses ' +
          '`runs/<name of the configuration>`.',
      ),
    reportTo: z
      .array(z.enum(['tensorboard']))
      .default([])
      .describe(
        'Where else to report steps and evaluations: `tensorboard` writes event files to outputDir. Default: nowhere.',
      ),
  })
  .describe("How to train. Names are Hugging Face's in camelCase.")
  .register(settings, { name: 'TrainingArguments', synonyms });

/**
 * Checks the arguments and fills in every default.
 *
 * @param at - path of the arguments in a larger configuration, for messages.
 * @throws TesseraeError `ERR_CONFIG` with `details.path`.
 */
export function resolveTrainingArguments(options: TrainingArguments, at = ''): ResolvedTrainingArguments {
  const { own, given } = reading({ name: at || 'arguments', path: at, code: 'ERR_CONFIG' }, () =>
    typeof options?.lrScheduler === 'function'
      ? { own: options.lrScheduler, given: { ...options, lrScheduler: undefined } }
      : { own: undefined, given: options },
  );
  const parsed = parseConfig(trainingArgumentsSchema, given, { at });
  const { evalSteps, earlyStopping, learningRate } = parsed;
  if (earlyStopping && evalSteps === 0) {
    const path = at === '' ? 'earlyStopping' : `${at}.earlyStopping`;
    throw new TesseraeError(
      'ERR_CONFIG',
      `${path} needs evaluations, but evalSteps is 0: set evalSteps, or leave earlyStopping out`,
      { details: { path } },
    );
  }
  const lrScheduler = own ?? parsed.lrScheduler;
  if (parsed.optim === 'sgd' && !parsed.momentum && parsed.lrSchedulerKwargs?.cycleMomentum) {
    const path = at === '' ? 'momentum' : `${at}.momentum`;
    throw new TesseraeError(
      'ERR_CONFIG',
      `${path} is 0, but lrSchedulerKwargs.cycleMomentum changes it: set momentum, such as 0.9, or leave cycleMomentum out`,
      { details: { path } },
    );
  }
  const falls = typeof lrScheduler === 'string' && ['cosine', 'cosineWithRestarts'].includes(lrScheduler);
  const resolved = withoutUndefined(parsed);
  return {
    ...resolved,
    ...resolveOptimizer(resolved, at),
    lrScheduler,
    minLearningRate: parsed.minLearningRate ?? (falls ? learningRate / 10 : 0),
  };
}

/** The arguments as plain JSON; a schedule that is a function is replaced by a hash of its rates. */
export function plainArguments(args: ResolvedTrainingArguments): Record<string, unknown> {
  if (typeof args.lrScheduler !== 'function') return { ...args };
  const hash = createHash('sha256')
    .update(new Uint8Array(ratesOf(args).buffer))
    .digest('hex');
  return { ...args, lrScheduler: `a function with rates ${hash.slice(0, 16)}` };
}

/** The rate of every step, by steps applied before it. */
export function ratesOf(args: ResolvedTrainingArguments): Float32Array {
  return learningRateSchedule(scheduleOptions(args));
}

/** The momentum (Adam's beta 1) of every step by steps applied before it, if the schedule changes it. */
export function momentaOf(args: ResolvedTrainingArguments): Float32Array | undefined {
  return momentumSchedule(scheduleOptions(args));
}

/** The learning rates of a run and its phases. */
export interface Schedule {
  /** The rate of every step, by steps applied before it. */
  readonly rates: Float32Array;
  /** The phases cover 0 to maxSteps without gaps; none is empty. */
  readonly phases: readonly SchedulePhase[];
}

/**
 * The learning rates that training with these arguments would use.
 *
 * @throws TesseraeError `ERR_CONFIG` for a wrong argument, or for a rate that is negative or not finite; the message names
 * its step.
 *
 * @example
 * const schedule = scheduleOf({ maxSteps: 1000, warmupSteps: 50, lrScheduler: 'warmupStableDecay' });
 * await writeFile('schedule.svg', scheduleSvg(schedule, { title: 'warmup, stable, decay' }));
 */
export function scheduleOf(args: TrainingArguments): Schedule {
  const resolved = resolveTrainingArguments(args);
  return { rates: ratesOf(resolved), phases: schedulePhases(scheduleOptions(resolved)) };
}

function scheduleOptions({
  lrScheduler: type,
  lrSchedulerKwargs: kwargs = {},
  ...args
}: ResolvedTrainingArguments): ScheduleOptions {
  return { ...args, type, kwargs };
}
