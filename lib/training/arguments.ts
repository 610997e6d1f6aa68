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
    /** Absent unless given: a model in fp16 then has the defaults. */
    readonly lossScaling?: Required<LossScaling>;
    /** Absent unless given: then no evaluation ends the run. */
    readonly earlyStopping?: Required<EarlyStoppingOptions>;
  };

/** What stays absent unless it is given. */
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

/** What other libraries call these arguments. */
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
    batchSize: count(65_536, 'Rows of a micro-batch.').default(8),
    gradientAccumulationSteps: count(65_536, 'Micro-batches whose gradients make one step.').default(1),
    learningRate: rate('The highest learning rate; a schedule of your own does without.').default(6e-4),
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
      .describe('Parameters that train in their own way; the first group that matches a parameter decides.'),
    emaDecay: fp32(z.number().min(0).lt(1))
      .default(0)
      .describe(
        'Keeps an exponential moving average of the parameters, ema = emaDecay · ema + (1 − emaDecay) · parameters after every ' +
          'applied step, beside them in checkpoints; 0: none. Evaluations look at the parameters themselves.',
      ),
    maxGradNorm: fp32(z.number().min(0).max(1e9))
      .default(1)
      .describe('Global norm that gradients are clipped to; 0: no clipping.'),
    lrScheduler: lrSchedulerSchema
      .default('cosine')
      .describe(
        'How the rate falls after warmup: by name, or in TypeScript by a function from steps applied to the rate.',
      )
      // JSON has no functions, and so the schema has none.
      .register(settings, {
        type: 'LrSchedulerType | LrScheduleFunction',
        imports: { LrScheduleFunction: './schedule_settings' },
      }),
    lrSchedulerKwargs: lrSchedulerKwargsSchema
      .optional()
      .describe('What only some schedules have, such as `numCycles`.'),
    minLearningRate: rate(
      'The rate at the end of `cosine` and `cosineWithRestarts` (default learningRate ÷ 10), `linear`, `polynomial` and ' +
        '`warmupStableDecay` (default 0); other schedules have none.',
    ).optional(),
    warmupSteps: steps(
      'Steps in which the rate rises to learningRate. `oneCycle` rises for 30 % of maxSteps where it is 0.',
    ),
    warmupInitLearningRate: rate(
      'The first rate of warmup, at most learningRate. Default learningRate ÷ warmupSteps; Hugging Face has 0.',
    ).optional(),
    labelSmoothing: fp32(z.number().min(0).lt(1))
      .default(0)
      .describe("Share ε of each target's probability that is given to others."),
    labelSmoothingType: labelSmoothingTypeSchema
      .default('uniform')
      .describe(
        "Who gets it: `uniform`, each of the V tokens ε ÷ V, the target's among them (PyTorch, fairseq before 2021); `others`, " +
          'each of the other tokens ε ÷ (V − 1) (fairseq since).',
      ),
    lossScaling: lossScalingSchema
      .optional()
      .describe('Dynamic loss scaling; only for models in fp16, which always have it.'),
    evalSteps: steps('Steps between evaluations; 0: at the end only.'),
    earlyStopping: earlyStoppingSchema
      .optional()
      .describe("Ends the run when evaluations don't get better; needs evalSteps. Default: never."),
    evalBatches: count(1_000_000, 'Batches of one evaluation, at most.').default(20),
    saveSteps: steps('Steps between checkpoints in outputDir; 0: at the end only.'),
    saveTotalLimit: integer(0, 1_000_000)
      .default(0)
      .describe(
        'Newest checkpoints that are kept in outputDir, beside the best and those with a file `pinned`; 0: all.',
      ),
    saveBestLimit: integer(0, 1_000_000)
      .default(1)
      .describe('Checkpoints with the least evaluation loss that saveTotalLimit leaves besides.'),
    loggingSteps: count(
      10_000_000,
      'Steps between `step` events; a GPU goes from step to step without waiting for JavaScript between them.',
    ).default(10),
    seed: integer(0, Number.MAX_SAFE_INTEGER).default(0).describe('Decides which rows each step draws.'),
    outputDir: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Folder of checkpoints, `checkpoint-<step>`. Default: a Trainer writes none; the command line takes ' +
          '`runs/<name of the configuration>`.',
      ),
    reportTo: z
      .array(z.enum(['tensorboard']))
      .default([])
      .describe(
        'Who else is told of steps and evaluations: TensorBoard by event files in outputDir. Default nobody.',
      ),
  })
  .describe("How to train. Names are Hugging Face's in camelCase.")
  .register(settings, { name: 'TrainingArguments', synonyms });

/**
 * Checks the arguments and fills in every default.
 *
 * @param at - where the arguments stand in a larger configuration, for messages.
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
      `${path} looks at evaluations, but evalSteps is 0: set the steps between evaluations, or leave it out`,
      { details: { path } },
    );
  }
  const lrScheduler = own ?? parsed.lrScheduler;
  if (parsed.optim === 'sgd' && !parsed.momentum && parsed.lrSchedulerKwargs?.cycleMomentum) {
    const path = at === '' ? 'momentum' : `${at}.momentum`;
    throw new TesseraeError(
      'ERR_CONFIG',
      `${path} is 0, but lrSchedulerKwargs.cycleMomentum moves it: set momentum, such as 0.9, or leave cycleMomentum out`,
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

/** The arguments as JSON can hold them: in the place of a schedule of the caller's own stands a hash of its rates. */
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

/** The momentum (Adam's beta 1) of every step where the schedule moves it, by steps applied before it. */
export function momentaOf(args: ResolvedTrainingArguments): Float32Array | undefined {
  return momentumSchedule(scheduleOptions(args));
}

/** The learning rates of a run, and the phases that they come in. */
export interface Schedule {
  /** The rate of every step, by steps applied before it. */
  readonly rates: Float32Array;
  /** Without gaps from 0 to maxSteps, none of them empty. */
  readonly phases: readonly SchedulePhase[];
}

/**
 * The learning rates that training with these arguments would use.
 *
 * @throws TesseraeError `ERR_CONFIG` for a wrong argument, and for a rate that is negative or not finite, with its step.
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
