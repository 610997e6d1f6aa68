import { TesseraeError } from '../errors';
import { show } from './validation';

/**
 * Checks the learning rate of a step.
 *
 * @param step - its number, from 1.
 * @throws TesseraeError `ERR_CONFIG` for a rate that is negative, no number, or not finite in fp32, where devices keep it;
 * `details.step` is the step.
 */
export function checkLearningRate(rate: unknown, step: number): asserts rate is number {
  if (typeof rate === 'number' && rate >= 0 && Number.isFinite(Math.fround(rate))) return;
  throw new TesseraeError(
    'ERR_CONFIG',
    `the learning rate of step ${step} would be ${show(rate)}: rates must be finite numbers of at least 0`,
    { details: { path: 'lrScheduler', step } },
  );
}
