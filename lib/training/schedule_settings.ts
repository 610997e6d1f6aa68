import { z } from 'zod';
import { fp32 } from '../models/device_numbers';
import { ownedText } from '../models/setting_text';
import { integer, number, settings } from '../models/settings';
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

/** No defaults of the schema: what a schedule does not have must stay absent. */
export const KWARGS_DEFAULTS = {
  numCycles: 1,
  power: 1,
  pctStart: 0.3,
  divFactor: 25,
  finalDivFactor: 10_000,
  threePhase: false,
  annealStrategy: 'cos',
  cycleMomentum: false,
  baseMomentum: 0.85,
  maxMomentum: 0.95,
  decayType: 'cosine',
} as const satisfies LrSchedulerKwargs;

/** @param note - what is said of the default. */
function text(name: keyof LrSchedulerKwargs, what: string, note = ''): string {
  const defaults: LrSchedulerKwargs = KWARGS_DEFAULTS;
  const owners = LR_SCHEDULERS.filter((type) => KWARGS_OF[type].includes(name));
  return ownedText(owners, what, defaults[name], note);
}

/** Validates LrSchedulerKwargs by themselves; `learningRateSchedule` knows which go with what. */
export const lrSchedulerKwargsSchema = z
  .strictObject({
    numCycles: integer(1, 10_000)
      .optional()
      .describe(text('numCycles', 'times that the rate falls from its highest.', ', which is `cosine`')),
    power: z
      .number()
      .gt(0)
      .max(100)
      .optional()
      .describe(text('power', 'the power of the share of steps left.', ', which is `linear`')),
    timescale: number(1, 1e9)
      .optional()
      .describe(
        text(
          'timescale',
          'steps after which the rate has fallen by √2. Default warmupSteps, or 10,000 without.',
        ),
      ),
    pctStart: number(0, 1)
      .optional()
      .describe(text('pctStart', 'share of the run in which the rate rises; at most 0.5 with threePhase.')),
    divFactor: number(1, 1e9)
      .optional()
      .describe(text('divFactor', 'the first rate is learningRate ÷ divFactor.')),
    finalDivFactor: number(1, 1e9)
      .optional()
      .describe(text('finalDivFactor', 'the last rate is the first ÷ finalDivFactor.')),
    threePhase: z
      .boolean()
      .optional()
      .describe(
        text(
          'threePhase',
          'fall to the first rate as fast as it rose, and then to the last.',
          ': fall to the last at once',
        ),
      ),
    annealStrategy: z
      .enum(['cos', 'linear'])
      .optional()
      .describe(text('annealStrategy', 'along a half cosine or a line.')),
    cycleMomentum: z
      .boolean()
      .optional()
      .describe(
        text(
          'cycleMomentum',
          "move momentum, or Adam's beta 1, against the rate: from maxMomentum down to " +
            'baseMomentum and back. It takes the place of `momentum` or `adamBeta1`.',
          "; PyTorch's OneCycleLR does it by default",
        ),
      ),
    baseMomentum: fp32(z.number().min(0).lt(1))
      .optional()
      .describe(text('baseMomentum', 'the lowest momentum of cycleMomentum, at the highest rate.')),
    maxMomentum: fp32(z.number().min(0).lt(1))
      .optional()
      .describe(text('maxMomentum', 'the highest momentum of cycleMomentum, at the first rate and below.')),
    numDecaySteps: integer(1, 10_000_000)
      .optional()
      .describe(
        text(
          'numDecaySteps',
          'steps of the decay at the end. Default: a fifth of maxSteps, at most all after warmup.',
        ),
      ),
    decayType: z
      .enum(['cosine', 'linear', '1-sqrt'])
      .optional()
      .describe(text('decayType', 'the form of the decay.')),
  })
  .describe('What only some schedules have; a setting that the schedule does not have is refused.')
  .register(settings, {
    name: 'LrSchedulerKwargs',
    synonyms: { cycles: 'numCycles', decaySteps: 'numDecaySteps' },
  });
