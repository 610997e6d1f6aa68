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
    "How the learning rate changes over a run: Hugging Face's lr_scheduler_type in camelCase, and PyTorch's OneCycleLR. " +
      'docs/schedules.md has the formulas.',
  )
  .register(settings, { name: 'LrSchedulerType' });

export const LR_SCHEDULERS: readonly LrSchedulerType[] = lrSchedulerSchema.options;

/**
 * A schedule of your own: returns the learning rate of a step, given the number of steps applied before it (from 0). It is
 * called once for each of the maxSteps steps, before training starts.
 */
export type LrScheduleFunction = (step: number) => number;

/** The kwargs of each schedule. */
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

/** Schedules that end at minLearningRate; the others have no lowest rate, or define it differently. */
export const ENDS_AT_MINIMUM: readonly LrSchedulerType[] = [
  'cosine',
  'linear',
  'cosineWithRestarts',
  'polynomial',
  'warmupStableDecay',
];

/** The schema has no defaults: settings that a schedule does not have must stay absent. */
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

/** @param note - a remark on the default. */
function text(name: keyof LrSchedulerKwargs, what: string, note = ''): string {
  const defaults: LrSchedulerKwargs = KWARGS_DEFAULTS;
  const owners = LR_SCHEDULERS.filter((type) => KWARGS_OF[type].includes(name));
  return ownedText(owners, what, defaults[name], note);
}

/** Validates LrSchedulerKwargs alone; `learningRateSchedule` checks which settings go together. */
export const lrSchedulerKwargsSchema = z
  .strictObject({
    numCycles: integer(1, 10_000)
      .optional()
      .describe(
        text('numCycles', 'number of times that the rate falls from its maximum.', ', which is `cosine`'),
      ),
    power: z
      .number()
      .gt(0)
      .max(100)
      .optional()
      .describe(text('power', 'exponent of the share of remaining steps.', ', which is `linear`')),
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
      .describe(
        text('pctStart', 'share of the run during which the rate rises; at most 0.5 with threePhase.'),
      ),
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
          'fall to the first rate as fast as the rate rose, then to the last.',
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
          "change momentum, or Adam's beta 1, opposite to the rate: from maxMomentum down to " +
            'baseMomentum and back. It replaces `momentum` or `adamBeta1`.',
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
          'steps of the decay at the end. Default: a fifth of maxSteps, but no more than the steps after warmup.',
        ),
      ),
    decayType: z
      .enum(['cosine', 'linear', '1-sqrt'])
      .optional()
      .describe(text('decayType', 'the shape of the decay.')),
  })
  .describe('Settings that only some schedules have; a setting of another schedule is an error.')
  .register(settings, {
    name: 'LrSchedulerKwargs',
    synonyms: { cycles: 'numCycles', decaySteps: 'numDecaySteps' },
  });
