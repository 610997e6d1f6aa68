import { TesseraeError } from '../errors';

export const LR_SCHEDULERS = ['cosine', 'linear', 'constant'] as const;

/** How the learning rate falls after warmup. */
export type LrSchedulerType = (typeof LR_SCHEDULERS)[number];

export interface ScheduleOptions {
  readonly type: LrSchedulerType;
  /** The highest rate. */
  readonly learningRate: number;
  /** The rate that `cosine` and `linear` end at. */
  readonly minLearningRate: number;
  /** Steps of warmup, in [0, maxSteps]. */
  readonly warmupSteps: number;
  readonly maxSteps: number;
}

/**
 * The rate of every step s = 0 … maxSteps − 1, where s counts the steps that were applied before.
 *
 * With W = warmupSteps, N = maxSteps, lr = learningRate and min = minLearningRate:
 * - warmup, s < W: lr · (s + 1) ÷ W, so that the first step already learns and step W − 1 has the full rate;
 * - afterwards, with p = (s − W) ÷ (N − W), which is 0 at step W and would be 1 at step N, the first that is not run:
 *   - `constant`: lr;
 *   - `linear`: lr + (min − lr) · p;
 *   - `cosine`: min + (lr − min) · (1 + cos(π p)) ÷ 2 (Loshchilov & Hutter 2017, equation 5, one period).
 *
 * @throws TesseraeError `ERR_CONFIG` when the warmup is longer than the run or the least rate above the highest.
 */
export function learningRateSchedule(options: ScheduleOptions): Float32Array {
  const { type, learningRate, minLearningRate, warmupSteps, maxSteps } = options;
  if (warmupSteps > maxSteps)
    throw new TesseraeError(
      'ERR_CONFIG',
      `warmupSteps ${warmupSteps} is more than maxSteps ${maxSteps}: warm up for a part of the run, such as ` +
        `${Math.floor(maxSteps / 10)}`,
      { details: { path: 'warmupSteps' } },
    );
  if (type !== 'constant' && minLearningRate > learningRate)
    throw new TesseraeError(
      'ERR_CONFIG',
      `minLearningRate ${minLearningRate} is above learningRate ${learningRate}: the rate can only fall`,
      { details: { path: 'minLearningRate' } },
    );
  const fall = learningRate - minLearningRate;
  return Float32Array.from({ length: maxSteps }, (_, step) => {
    if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
    const progress = (step - warmupSteps) / (maxSteps - warmupSteps);
    switch (type) {
      case 'constant':
        return learningRate;
      case 'linear':
        return learningRate - fall * progress;
      case 'cosine':
        return minLearningRate + (fall * (1 + Math.cos(Math.PI * progress))) / 2;
    }
  });
}
