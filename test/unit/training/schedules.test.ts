import { learningRateSchedule, type ScheduleOptions } from '../../../lib/training/schedules';
import { failureOf } from '../support/errors';

const rates = (options: Partial<ScheduleOptions>): number[] =>
  Array.from(
    learningRateSchedule({
      type: 'constant',
      learningRate: 1,
      minLearningRate: 0,
      warmupSteps: 0,
      maxSteps: 8,
      ...options,
    }),
  );

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
});
