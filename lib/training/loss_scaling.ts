import { z } from 'zod';
import { fp32 } from '../models/device_numbers';
import { settings } from '../models/settings';
import type { LossScaling } from './loss_scaling.generated';

export type * from './loss_scaling.generated';

/** Validates LossScaling. */
export const lossScalingSchema = z
  .strictObject({
    initScale: fp32(
      z
        .number()
        .gt(0)
        .max(2 ** 127),
    )
      .default(65_536)
      .describe('Factor of the first loss, so that small gradients do not vanish in fp16.'),
    growthFactor: fp32(
      z
        .number()
        .min(1)
        .max(2 ** 64),
    )
      .default(2)
      .describe('Factor by which the scale grows after growthInterval steps without an overflow.'),
    backoffFactor: fp32(z.number().gt(0).lt(1))
      .default(0.5)
      .describe(
        'Factor by which the scale shrinks after a step whose gradient was not finite; that step is skipped.',
      ),
    growthInterval: z
      .int()
      .min(1)
      .default(2000)
      .describe('Steps in a row without an overflow after which the scale grows.'),
    maxSkippedSteps: z
      .int()
      .min(1)
      .default(25)
      .describe('Skipped steps in a row after which training stops with `ERR_NON_FINITE`.'),
  })
  .describe("Dynamic loss scaling of fp16, by the rule of PyTorch's GradScaler. The device applies it.")
  .register(settings, {
    name: 'LossScaling',
    synonyms: { initialScale: 'initScale', lossScaleWindow: 'growthInterval' },
  });

/** The default loss scaling of a model in fp16. */
export const DEFAULT_LOSS_SCALING: Required<LossScaling> = lossScalingSchema.parse({});
