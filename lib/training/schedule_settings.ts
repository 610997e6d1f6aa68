import { z } from 'zod';
import { fp32 } from '../models/device_numbers';
import { settings } from '../models/settings';
import type { LrSchedulerKwargs, LrSchedulerType } from './schedule_settings.generated';

export type * from './schedule_settings.generated';

/** Validates LrSchedulerType. */
export const lrSchedulerSchema = z
  .enum([
    'cosine',
    'linear',
    'constant',
    'cosineWithRestarts',
    'polynomial',
    'inverseSqrt',
    'oneCycle',
    'warmupStableDecay',
  ])
  .describe(
    "How the learning rate moves over a run, by name: Hugging Face's lr_scheduler_type in camelCase, and PyTorch's OneCycleLR. " +
      'docs/schedules.md has their formulas.',
  )
  .register(settings, { name: 'LrSchedulerType' });

export const LR_SCHEDULERS: readonly LrSchedulerType[] = lrSchedulerSchema.options;

/**
 * A schedule of your own: the learning rate of the step before which `step` steps were applied, from 0. It is called once
 * for each of maxSteps steps, before the first.
 */
export type LrScheduleFunction = (step: number) => number;

/** Which of the kwargs a schedule has. */
export const KWARGS_OF: Readonly<Record<LrSchedulerType, readonly (keyof LrSchedulerKwargs)[]>> = {
  cosine: [],
  linear: [],
  constant: [],
  cosineWithRestarts: ['numCycles'],
  polynomial: ['power'],
  inverseSqrt: ['timescale'],
  oneCycle: [
    'pctStart',
    'divFactor',
    'finalDivFactor',
    'threePhase',
    'annealStrategy',
    'cycleMomentum',
    'baseMomentum',
    'maxMomentum',
  ],
  warmupStableDecay: ['numDecaySteps', 'decayType'],
};

/** Schedules that end at minLearningRate; the others have no lowest rate, or one of their own. */
export const ENDS_AT_MINIMUM: readonly LrSchedulerType[] = [
  'cosine',
  'linear',
  'cosineWithRestarts',
  'polynomial',
  'warmupStableDecay',
];

/** Validates LrSchedulerKwargs by themselves; `learningRateSchedule` knows which go with what. */
export const lrSchedulerKwargsSchema = z
  .strictObject({
    numCycles: z
      .int()
      .min(1)
      .max(10_000)
      .optional()
      .describe(
        '`cosineWithRestarts`: times that the rate falls from its highest. Default 1, which is `cosine`.',
      ),
    power: z
      .number()
      .gt(0)
      .max(100)
      .optional()
      .describe('`polynomial`: the power of the share of steps left. Default 1, which is `linear`.'),
    timescale: z
      .number()
      .min(1)
      .max(1e9)
      .optional()
      .describe(
        '`inverseSqrt`: steps after which the rate has fallen by √2. Default warmupSteps, or 10,000 without.',
      ),
    pctStart: z
      .number()
      .min(0)
      .max(1)
      .optional()
      .describe(
        '`oneCycle`: share of the run in which the rate rises; at most 0.5 with threePhase. Default 0.3.',
      ),
    divFactor: z
      .number()
      .min(1)
      .max(1e9)
      .optional()
      .describe('`oneCycle`: the first rate is learningRate ÷ divFactor. Default 25.'),
    finalDivFactor: z
      .number()
      .min(1)
      .max(1e9)
      .optional()
      .describe('`oneCycle`: the last rate is the first ÷ finalDivFactor. Default 10,000.'),
    threePhase: z
      .boolean()
      .optional()
      .describe(
        '`oneCycle`: fall to the first rate as fast as it rose, and then to the last. Default false: fall to ' +
          'the last at once.',
      ),
    annealStrategy: z
      .enum(['cos', 'linear'])
      .optional()
      .describe("`oneCycle`: along a half cosine or a line. Default 'cos'."),
    cycleMomentum: z
      .boolean()
      .optional()
      .describe(
        "`oneCycle`: move momentum, or Adam's beta 1, against the rate: from maxMomentum down to baseMomentum " +
          "and back. It takes the place of `momentum` or `adamBeta1`. Default false; PyTorch's OneCycleLR does " +
          'it by default.',
      ),
    baseMomentum: fp32(z.number().min(0).lt(1))
      .optional()
      .describe('`oneCycle` with cycleMomentum: the lowest momentum, at the highest rate. Default 0.85.'),
    maxMomentum: fp32(z.number().min(0).lt(1))
      .optional()
      .describe(
        '`oneCycle` with cycleMomentum: the highest momentum, at the first rate and below. Default 0.95.',
      ),
    numDecaySteps: z
      .int()
      .min(1)
      .max(10_000_000)
      .optional()
      .describe(
        '`warmupStableDecay`: steps of the decay at the end. Default: a fifth of maxSteps, at most all after ' +
          'warmup.',
      ),
    decayType: z
      .enum(['cosine', 'linear', '1-sqrt'])
      .optional()
      .describe("`warmupStableDecay`: the form of the decay. Default 'cosine'."),
  })
  .describe('What only some schedules have; a setting that the schedule does not have is refused.')
  .register(settings, {
    name: 'LrSchedulerKwargs',
    synonyms: { cycles: 'numCycles', decaySteps: 'numDecaySteps' },
  });
