import { LR_SCHEDULERS, type LrSchedulerKwargs } from '../../../lib/training/schedule_settings';
import {
  learningRateSchedule,
  momentumSchedule,
  schedulePhases,
  type ScheduleOptions,
} from '../../../lib/training/schedules';
import { failureOf } from '../support/errors';

const PLAIN: ScheduleOptions = {
  type: 'constant',
  learningRate: 1,
  minLearningRate: 0,
  warmupSteps: 0,
  maxSteps: 8,
};

const rates = (options: Partial<ScheduleOptions>): number[] =>
  Array.from(learningRateSchedule({ ...PLAIN, ...options }));

const phases = (options: Partial<ScheduleOptions>): string[] =>
  schedulePhases({ ...PLAIN, ...options }).map(({ name, start, end }) => `${name} ${start} ${end}`);

/** Compares rates at some steps with values that are printed with the digits that they have. */
function atSteps(options: Partial<ScheduleOptions>, expected: Readonly<Record<number, number>>): void {
  const all = rates(options);
  for (const [step, value] of Object.entries(expected)) {
    // Half a unit in the sixth digit, the fewest that the values below are printed with.
    const relative = Math.abs((all[Number(step)] ?? NaN) / value - 1);
    expect({ step, rate: all[Number(step)], close: relative < 5e-6 }).toMatchObject({ close: true });
  }
}

const close = (actual: readonly number[], expected: readonly number[]): void => {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((rate, step) => expect(rate).toBeCloseTo(expected[step] ?? NaN, 6));
};

describe('learningRateSchedule', () => {
  it('warms up linearly: the first step has a share, step warmupSteps - 1 the full rate', () => {
    close(rates({ warmupSteps: 4 }), [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]);
  });

  it('falls linearly towards the minimum at maxSteps', () => {
    close(rates({ type: 'linear', maxSteps: 4, minLearningRate: 0.2 }), [1, 0.8, 0.6, 0.4]);
    close(rates({ type: 'linear', maxSteps: 6, warmupSteps: 2 }), [0.5, 1, 1, 0.75, 0.5, 0.25]);
  });

  it('falls along half a cosine', () => {
    const half = Math.SQRT1_2;
    close(rates({ type: 'cosine', maxSteps: 4 }), [1, (1 + half) / 2, 0.5, (1 - half) / 2]);
    close(rates({ type: 'cosine', maxSteps: 6, warmupSteps: 2, minLearningRate: 0.5 }), [
      0.5,
      1,
      1,
      0.5 + (1 + half) / 4,
      0.75,
      0.5 + (1 - half) / 4,
    ]);
  });

  it('allows a run that is all warmup', () => {
    close(rates({ type: 'cosine', maxSteps: 2, warmupSteps: 2 }), [0.5, 1]);
  });

  it('refuses a warmup longer than the run and a rate that would rise', async () => {
    const { details } = await failureOf('ERR_CONFIG', () => rates({ warmupSteps: 9 }));
    expect(details['path']).toBe('warmupSteps');
    const rising = await failureOf('ERR_CONFIG', () => rates({ type: 'linear', minLearningRate: 2 }));
    expect(rising.details['path']).toBe('minLearningRate');
  });

  it('restarts at the full rate at the first step of every cycle', () => {
    const half = Math.SQRT1_2;
    const cycle = [1, (1 + half) / 2, 0.5, (1 - half) / 2];
    const options = {
      type: 'cosineWithRestarts',
      maxSteps: 9,
      warmupSteps: 1,
      kwargs: { numCycles: 2 },
    } as const;
    close(rates(options), [1, ...cycle, ...cycle]);
    expect(phases(options)).toEqual(['warmup 0 1', 'cycle 1 1 5', 'cycle 2 5 9']);
    // 1/3 + 1/3 + 1/3 in floating point is not 1: each cycle still starts where it should.
    const many = rates({ type: 'cosineWithRestarts', maxSteps: 4_900, kwargs: { numCycles: 49 } });
    expect(many.filter((rate) => rate === 1)).toHaveLength(49);
    close(
      rates({ type: 'cosineWithRestarts', minLearningRate: 0.5 }),
      rates({ type: 'cosine', minLearningRate: 0.5 }),
    );
  });

  it('has cycles that no step falls into', () => {
    expect(rates({ type: 'cosineWithRestarts', maxSteps: 3, kwargs: { numCycles: 7 } })[0]).toBe(1);
    expect(phases({ type: 'cosineWithRestarts', maxSteps: 3, kwargs: { numCycles: 7 } })).toEqual([
      'cycle 1 0 1',
      'cycle 3 1 2',
      'cycle 5 2 3',
    ]);
  });

  it('falls along a polynomial', () => {
    const polynomial = { type: 'polynomial', maxSteps: 6, warmupSteps: 2, minLearningRate: 1e-7 } as const;
    close(rates({ ...polynomial, kwargs: { power: 2 } }), [0.5, 1, 1, 0.5625, 0.25, 0.0625]);
    close(rates(polynomial), rates({ ...polynomial, type: 'linear' }));
  });

  it('warms up from a given rate; from 0 as Hugging Face and fairseq do', () => {
    close(rates({ warmupSteps: 4, warmupInitLearningRate: 0 }), [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]);
    close(
      rates({ type: 'linear', maxSteps: 6, warmupSteps: 2, warmupInitLearningRate: 0 }),
      // s ÷ W, then (T − s) ÷ (T − W)
      [0, 0.5, 1, 0.75, 0.5, 0.25],
    );
  });

  it("has fairseq's values of the inverse square root", () => {
    const vaswani = { type: 'inverseSqrt', warmupInitLearningRate: 1e-7, maxSteps: 500_001 } as const;
    atSteps(
      { ...vaswani, learningRate: 1e-3, warmupSteps: 8000 },
      // 7.0711e-4 and 1.26491e-4 by more of their digits
      { 0: 1e-7, 1: 2.249875e-7, 4000: 5.0005e-4, 8000: 1e-3, 16000: 7.071068e-4, 500000: 1.264911e-4 },
    );
    atSteps({ ...vaswani, learningRate: 7e-4, warmupSteps: 6000 }, { 24000: 3.5e-4, 100000: 1.714643e-4 });
  });

  it('has an inverse square root without warmup, and with a timescale of its own', () => {
    atSteps({ type: 'inverseSqrt', maxSteps: 30_001 }, { 0: 1, 30000: 0.5 });
    close(rates({ type: 'inverseSqrt', maxSteps: 4, kwargs: { timescale: 1 } }), [
      1,
      Math.SQRT1_2,
      Math.sqrt(1 / 3),
      0.5,
    ]);
  });

  it("has the values of PyTorch's OneCycleLR in two phases", () => {
    const options = {
      type: 'oneCycle',
      learningRate: 0.1,
      maxSteps: 100,
      kwargs: { pctStart: 0.3 },
    } as const;
    atSteps(options, { 0: 0.004, 1: 0.00428138, 15: 0.05459867, 29: 0.1, 64: 0.0500002, 99: 4e-7 });
    expect(phases(options)).toEqual(['rise 0 30', 'fall 30 100']);
    expect(rates({ ...options, kwargs: {} })).toEqual(rates(options));
  });

  it("has the values of PyTorch's OneCycleLR in three phases", () => {
    const options = {
      type: 'oneCycle',
      learningRate: 0.1,
      maxSteps: 100,
      kwargs: { pctStart: 0.3, threePhase: true },
    } as const;
    atSteps(options, { 0: 0.004, 29: 0.1, 43: 0.05459867, 58: 0.004, 99: 4e-7 });
    expect(phases(options)).toEqual(['rise 0 30', 'fall 30 59', 'annihilation 59 100']);
  });

  it('moves momentum against the rate of one cycle', () => {
    const momenta = (kwargs: LrSchedulerKwargs, maxSteps = 100): number[] =>
      Array.from(
        momentumSchedule({
          ...PLAIN,
          type: 'oneCycle',
          learningRate: 0.1,
          maxSteps,
          kwargs: { cycleMomentum: true, ...kwargs },
        })!,
      );
    const at = (all: readonly number[], wanted: Record<number, number>): void => {
      for (const [step, value] of Object.entries(wanted)) expect(all[Number(step)]).toBeCloseTo(value, 6);
    };
    // The share of the way that the rate has come, from the rates above: (rate - 0.004) / 0.096.
    at(momenta({}), { 0: 0.95, 15: 0.95 - 0.1 * (0.05059867 / 0.096), 29: 0.85, 64: 0.9, 99: 0.95 });
    const three = momenta({ threePhase: true });
    at(three, { 0: 0.95, 29: 0.85, 43: 0.95 - 0.1 * (0.05059867 / 0.096), 58: 0.95, 59: 0.95, 99: 0.95 });
    at(momenta({ annealStrategy: 'linear', pctStart: 0.5, baseMomentum: 0.5, maxMomentum: 0.9 }, 6), {
      0: 0.9,
      1: 0.7,
      2: 0.5,
      5: 0.9,
    });
    expect(momentumSchedule({ ...PLAIN, type: 'oneCycle', maxSteps: 10 })).toBeUndefined();
  });

  it('lets warmupSteps say how long one cycle rises, and its lines be straight', () => {
    const options = { type: 'oneCycle', learningRate: 0.1, maxSteps: 100 } as const;
    expect(rates({ ...options, warmupSteps: 40 })).toEqual(rates({ ...options, kwargs: { pctStart: 0.4 } }));
    close(
      rates({
        type: 'oneCycle',
        maxSteps: 7,
        warmupSteps: 3,
        kwargs: { annealStrategy: 'linear', divFactor: 2, finalDivFactor: 5 },
      }),
      [0.5, 0.75, 1, 0.775, 0.55, 0.325, 0.1],
    );
  });

  it.each([
    [1, 0],
    [1, 1],
    [2, 0],
    [2, 0.5],
    [3, 1],
    [10, 0.1],
    [10, 0.05],
  ])('has one cycle of %d steps that rises for the share %d', (maxSteps, pctStart) => {
    for (const threePhase of pctStart > 0.5 ? [false] : [false, true]) {
      const all = rates({ type: 'oneCycle', maxSteps, kwargs: { pctStart, threePhase } });
      expect(all.every((rate) => rate > 0 && rate <= 1)).toBe(true);
    }
  });

  it('is level and then falls over the last steps', () => {
    const half = Math.SQRT1_2;
    const wsd = { type: 'warmupStableDecay', maxSteps: 8, warmupSteps: 2 } as const;
    const level = [0.5, 1, 1, 1];
    close(rates({ ...wsd, kwargs: { numDecaySteps: 4 } }), [
      ...level,
      1,
      (1 + half) / 2,
      0.5,
      (1 - half) / 2,
    ]);
    close(rates({ ...wsd, kwargs: { numDecaySteps: 4, decayType: 'linear' } }), [
      ...level,
      1,
      0.75,
      0.5,
      0.25,
    ]);
    close(rates({ ...wsd, minLearningRate: 0.5, kwargs: { numDecaySteps: 4, decayType: '1-sqrt' } }), [
      ...level,
      1,
      0.75,
      1 - half / 2,
      1 - Math.sqrt(3) / 4,
    ]);
    expect(phases({ ...wsd, kwargs: { numDecaySteps: 4 } })).toEqual([
      'warmup 0 2',
      'stable 2 4',
      'decay 4 8',
    ]);
    expect(phases({ ...wsd, maxSteps: 104 })).toEqual(['warmup 0 2', 'stable 2 83', 'decay 83 104']);
    expect(phases({ ...wsd, maxSteps: 2 })).toEqual(['warmup 0 2']);
  });

  it("takes a function's rates, one call a step", () => {
    const asked: number[] = [];
    const own = (step: number): number => (asked.push(step), 1 / (step + 1));
    close(rates({ type: own, maxSteps: 4 }), [1, 1 / 2, 1 / 3, 1 / 4]);
    expect(asked).toEqual([0, 1, 2, 3]);
    expect(phases({ type: own, maxSteps: 4 })).toEqual(['custom 0 4']);
  });

  it('refuses invalid rates and names the step', async () => {
    // A recipe that was published with an end of −1: the rate is negative after 30 steps.
    const published = (step: number): number => (3e-4 + 1) * (1 - step / 1e5) - 1;
    const negative = await failureOf('ERR_CONFIG', () => rates({ type: published, maxSteps: 100_000 }));
    expect(negative.details).toEqual({ path: 'lrScheduler', step: 31 });
    expect(negative.message).toMatch(/learning rate of step 31 would be -9\.0\d*e-8: .* at least 0/);
    for (const wrong of [NaN, Infinity, 1e39, '1e-3', undefined, Promise.resolve(1)]) {
      const own = (step: number): number => (step < 2 ? 1 : (wrong as number));
      expect((await failureOf('ERR_CONFIG', () => rates({ type: own }))).details['step']).toBe(3);
    }
    await failureOf('ERR_CONFIG', () => rates({ type: 'linear', minLearningRate: -1 }));
  });

  it('passes on what a function throws', () => {
    const own = (): number => {
      throw new RangeError('no');
    };
    expect(() => rates({ type: own })).toThrow(RangeError);
  });

  it.each<[string, Partial<ScheduleOptions>, RegExp]>([
    [
      'lrSchedulerKwargs.power',
      { kwargs: { power: 2 } },
      /belongs to 'polynomial', but lrScheduler is 'constant'/,
    ],
    ['lrSchedulerKwargs.power', { type: () => 1, kwargs: { power: 2 } }, /is a schedule of your own/],
    ['minLearningRate', { minLearningRate: 0.1 }, /has no effect with 'constant'/],
    ['minLearningRate', { type: 'oneCycle', minLearningRate: 0.1 }, /has no effect with 'oneCycle'/],
    ['minLearningRate', { type: 'inverseSqrt', minLearningRate: 0.1 }, /has no effect/],
    ['minLearningRate', { type: () => 1, minLearningRate: 0.1 }, /has no effect/],
    ['warmupSteps', { type: () => 1, warmupSteps: 2 }, /write the warmup into the function/],
    ['warmupInitLearningRate', { warmupInitLearningRate: 0.1 }, /no effect without warmup/],
    ['warmupInitLearningRate', { warmupSteps: 1, warmupInitLearningRate: 2 }, /warmup can only rise/],
    ['warmupInitLearningRate', { type: 'oneCycle', warmupSteps: 1, warmupInitLearningRate: 0 }, /divFactor/],
    [
      'lrSchedulerKwargs.pctStart',
      { type: 'oneCycle', warmupSteps: 1, kwargs: { pctStart: 0.1 } },
      /both set/,
    ],
    [
      'lrSchedulerKwargs.pctStart',
      { type: 'oneCycle', kwargs: { pctStart: 0.6, threePhase: true } },
      /above 0.5/,
    ],
    ['warmupSteps', { type: 'oneCycle', warmupSteps: 5, kwargs: { threePhase: true } }, /more than half/],
    ['lrSchedulerKwargs.cycleMomentum', { type: 'cosine', kwargs: { cycleMomentum: true } }, /'oneCycle'/],
    ['lrSchedulerKwargs.maxMomentum', { type: 'oneCycle', kwargs: { maxMomentum: 0.9 } }, /cycleMomentum/],
    [
      'lrSchedulerKwargs.baseMomentum',
      { type: 'oneCycle', kwargs: { cycleMomentum: true, baseMomentum: 0.96 } },
      /above maxMomentum 0.95/,
    ],
    [
      'lrSchedulerKwargs.numDecaySteps',
      { type: 'warmupStableDecay', warmupSteps: 2, kwargs: { numDecaySteps: 7 } },
      /more than maxSteps 8: .* such as 2/,
    ],
  ])('refuses %s in %j', async (where, options, message) => {
    const failure = await failureOf('ERR_CONFIG', () => rates(options));
    expect(failure.details['path']).toBe(where);
    expect(failure.message).toMatch(message);
  });

  it.each(LR_SCHEDULERS)('%s has phases that leave no step out', (type) => {
    for (const maxSteps of [1, 2, 3, 7, 100])
      for (const warmupSteps of [0, 1, Math.floor(maxSteps / 2), maxSteps]) {
        const options: ScheduleOptions = { ...PLAIN, type, maxSteps, warmupSteps };
        const all = schedulePhases(options);
        expect([0, ...all.map(({ end }) => end)]).toEqual([...all.map(({ start }) => start), maxSteps]);
        expect(all.every(({ start, end }) => start < end)).toBe(true);
        expect(learningRateSchedule(options).every((rate) => rate >= 0 && rate <= 1)).toBe(true);
      }
  });
});
