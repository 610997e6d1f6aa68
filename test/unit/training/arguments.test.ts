import { ratesOf, resolveTrainingArguments, scheduleOf } from '../../../lib/training/arguments';
import { LR_SCHEDULERS, type LrSchedulerType } from '../../../lib/training/schedule_settings';
import { failureOf } from '../support/errors';

describe('resolveTrainingArguments', () => {
  it('fills in the defaults', () => {
    expect(resolveTrainingArguments({ maxSteps: 10 })).toEqual({
      maxSteps: 10,
      reportTo: [],
      saveBestLimit: 1,
      batchSize: 8,
      gradientAccumulationSteps: 1,
      learningRate: 6e-4,
      optim: 'adamw',
      weightDecay: 0.1,
      adamBeta1: 0.9,
      adamBeta2: 0.95,
      adamEpsilon: 1e-8,
      maxGradNorm: 1,
      lrScheduler: 'cosine',
      minLearningRate: 6e-4 / 10,
      warmupSteps: 0,
      labelSmoothing: 0,
      labelSmoothingType: 'uniform',
      emaDecay: 0,
      evalSteps: 0,
      evalBatches: 20,
      saveSteps: 0,
      saveTotalLimit: 0,
      loggingSteps: 10,
      seed: 0,
    });
  });

  it('lets a linear schedule end at 0', () => {
    expect(resolveTrainingArguments({ maxSteps: 1, lrScheduler: 'linear' }).minLearningRate).toBe(0);
    const rates = ratesOf(
      resolveTrainingArguments({ maxSteps: 3, lrScheduler: 'constant', learningRate: 0.5 }),
    );
    expect([...rates]).toEqual([0.5, 0.5, 0.5]);
  });

  it('lets both cosines end at a tenth, and no other schedule', () => {
    const end = (lrScheduler: LrSchedulerType): number =>
      resolveTrainingArguments({ maxSteps: 1, learningRate: 1, lrScheduler }).minLearningRate;
    expect(LR_SCHEDULERS.filter((type) => end(type) === 0.1)).toEqual(['cosine', 'cosineWithRestarts']);
    expect(LR_SCHEDULERS.filter((type) => end(type) === 0)).toHaveLength(LR_SCHEDULERS.length - 2);
  });

  it('resolves what it has resolved to the same', () => {
    const lrScheduler = (step: number): number => step;
    for (const given of [
      { maxSteps: 5, lrScheduler },
      { maxSteps: 5, lrScheduler: 'oneCycle', lrSchedulerKwargs: { threePhase: true } },
      {
        maxSteps: 5,
        warmupSteps: 2,
        warmupInitLearningRate: 0,
        evalSteps: 1,
        earlyStopping: { patience: 2 },
      },
    ] as const) {
      const resolved = resolveTrainingArguments(given);
      expect(resolved).toMatchObject(given);
      expect(resolveTrainingArguments(resolved)).toEqual(resolved);
    }
  });

  it('gives the schedule of the arguments, a function of your own too', () => {
    const { rates, phases } = scheduleOf({ maxSteps: 3, lrScheduler: (step) => step / 2 });
    expect([...rates]).toEqual([0, 0.5, 1]);
    expect(phases).toEqual([{ name: 'custom', start: 0, end: 3 }]);
    const decay = scheduleOf({
      maxSteps: 4,
      learningRate: 1,
      warmupSteps: 1,
      lrScheduler: 'warmupStableDecay',
      lrSchedulerKwargs: { numDecaySteps: 2, decayType: 'linear' },
    });
    expect([...decay.rates]).toEqual([1, 1, 1, 0.5]);
    expect(decay.phases.map(({ name }) => name)).toEqual(['warmup', 'stable', 'decay']);
  });

  it.each([
    [{}, 'maxSteps', /missing/],
    [{ maxSteps: 0 }, 'maxSteps', /from 1/],
    [{ maxSteps: 1.5 }, 'maxSteps', /integer/],
    [{ maxSteps: 1, batchSize: 0 }, 'batchSize', /not 0/],
    [{ maxSteps: 1, adamBeta2: 1 }, 'adamBeta2', /below 1/],
    [{ maxSteps: 1, labelSmoothing: -0.1 }, 'labelSmoothing', /-0.1/],
    [{ maxSteps: 1, lrScheduler: 'cosin' }, 'lrScheduler', /did you mean 'cosine'/],
    [{ maxSteps: 1, lrScheduler: 'inverse_sqrt' }, 'lrScheduler', /did you mean 'inverseSqrt'/],
    [{ maxSteps: 1, lrScheduler: 5 }, 'lrScheduler', /must be one of 'cosine'.* not 5/],
    [{ maxSteps: 1, lrSchedulerKwargs: { powr: 1 } }, 'lrSchedulerKwargs.powr', /did you mean power/],
    [
      { maxSteps: 1, lrSchedulerKwargs: { numCycles: 0.5 } },
      'lrSchedulerKwargs.numCycles',
      /an integer from 1/,
    ],
    [{ maxSteps: 1, lrSchedulerKwargs: { decayType: 'sqrt' } }, 'lrSchedulerKwargs.decayType', /'1-sqrt'/],
    [{ maxSteps: 1, minLearningRate: -1 }, 'minLearningRate', /from 0/],
    [{ maxSteps: 1, warmupInitLearningRate: -1e-7 }, 'warmupInitLearningRate', /from 0/],
    [{ maxSteps: 1, earlyStopping: {} }, 'earlyStopping', /evalSteps is 0/],
    [{ maxSteps: 1, evalSteps: 1, earlyStopping: { patience: 0 } }, 'earlyStopping.patience', /from 1/],
    // As fp32 has them.
    [
      { maxSteps: 1, adamEpsilon: 1e-46 },
      'adamEpsilon',
      /above 0 to 1, and at least 1\.18e-38, .* not 1e-46/,
    ],
    [{ maxSteps: 1, adamEpsilon: 1e-40 }, 'adamEpsilon', /not 1e-40/],
    [{ maxSteps: 1, adamBeta1: 1 - 1e-9 }, 'adamBeta1', /below 1 in fp32: 0\.999999999 is rounded to 1$/],
    [{ maxSteps: 1, adamBeta2: 1 - 1e-9 }, 'adamBeta2', /is rounded to 1$/],
    [{ maxSteps: 1, optim: 'sgd', momentum: 1 - 1e-9 }, 'momentum', /is rounded to 1$/],
    [{ maxSteps: 1, emaDecay: 1 - 1e-9 }, 'emaDecay', /is rounded to 1$/],
    [{ maxSteps: 1, labelSmoothing: 1 - 1e-9 }, 'labelSmoothing', /is rounded to 1$/],
    [{ maxSteps: 1, labelSmoothing: 1e-46 }, 'labelSmoothing', /and 0 or at least 1\.18e-38/],
    [{ maxSteps: 1, maxGradNorm: 1e-46 }, 'maxGradNorm', /not 1e-46/],
    [{ maxSteps: 1, weightDecay: 1e-46 }, 'weightDecay', /not 1e-46/],
    [{ maxSteps: 1, learningRate: 1e-46 }, 'learningRate', /not 1e-46/],
    [{ maxSteps: 1, minLearningRate: 1e-46 }, 'minLearningRate', /not 1e-46/],
    [{ maxSteps: 1, warmupInitLearningRate: 1e-46 }, 'warmupInitLearningRate', /not 1e-46/],
    [
      { maxSteps: 1, lossScaling: { backoffFactor: 1 - 1e-9 } },
      'lossScaling.backoffFactor',
      /is rounded to 1$/,
    ],
    [{ maxSteps: 1, lossScaling: { initScale: 1e-46 } }, 'lossScaling.initScale', /not 1e-46/],
    [
      { maxSteps: 1, parameterGroups: [{ match: '*', learningRateScale: 1e-46 }] },
      'parameterGroups[0].learningRateScale',
      /not 1e-46/,
    ],
    [
      { maxSteps: 1, lrSchedulerKwargs: { maxMomentum: 1 - 1e-9 } },
      'lrSchedulerKwargs.maxMomentum',
      /is rounded to 1$/,
    ],
    [null, '', /must be an object/],
    [{ maxSteps: 1, lr: 1 }, 'lr', /did you mean learningRate/],
    [{ maxSteps: 1, weight_decay: 1 }, 'weight_decay', /did you mean weightDecay/],
  ])('refuses %j', async (options, where, message) => {
    const failure = await failureOf('ERR_CONFIG', () => resolveTrainingArguments(options as never));
    expect(failure.details['path']).toBe(where);
    expect(failure.message).toMatch(message);
  });
});
