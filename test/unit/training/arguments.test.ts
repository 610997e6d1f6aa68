import { ratesOf, resolveTrainingArguments } from '../../../lib/training/arguments';
import { failureOf } from '../support/errors';

describe('resolveTrainingArguments', () => {
  it('fills in the defaults', () => {
    expect(resolveTrainingArguments({ maxSteps: 10 })).toEqual({
      maxSteps: 10,
      batchSize: 8,
      gradientAccumulationSteps: 1,
      learningRate: 6e-4,
      weightDecay: 0.1,
      adamBeta1: 0.9,
      adamBeta2: 0.95,
      adamEpsilon: 1e-8,
      maxGradNorm: 1,
      lrScheduler: 'cosine',
      minLearningRate: 6e-4 / 10,
      warmupSteps: 0,
      labelSmoothing: 0,
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

  it.each([
    [{}, 'maxSteps', /missing/],
    [{ maxSteps: 0 }, 'maxSteps', /from 1/],
    [{ maxSteps: 1.5 }, 'maxSteps', /integer/],
    [{ maxSteps: 1, batchSize: 0 }, 'batchSize', /not 0/],
    [{ maxSteps: 1, adamBeta2: 1 }, 'adamBeta2', /below 1/],
    [{ maxSteps: 1, labelSmoothing: -0.1 }, 'labelSmoothing', /-0.1/],
    [{ maxSteps: 1, lrScheduler: 'cosin' }, 'lrScheduler', /did you mean 'cosine'/],
    [{ maxSteps: 1, lr: 1 }, 'lr', /did you mean learningRate/],
    [{ maxSteps: 1, weight_decay: 1 }, 'weight_decay', /did you mean weightDecay/],
  ])('refuses %j', async (options, where, message) => {
    const failure = await failureOf('ERR_CONFIG', () => resolveTrainingArguments(options as never));
    expect(failure.details['path']).toBe(where);
    expect(failure.message).toMatch(message);
  });
});
