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
      .describe('What the first loss is multiplied by, so that small gradients do not vanish in fp16.'),
    growthFactor: fp32(
      z
        .number()
        .min(1)
        .max(2 ** 64),
    )
      .default(2)
      .describe('What the scale is multiplied by after growthInterval steps without an overflow.'),
    backoffFactor: fp32(z.number().gt(0).lt(1))
      .default(0.5)
      .describe(
        'What the scale is multiplied by after a step whose gradient was not finite, which is skipped.',
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
      .describe('Training stops with `ERR_NON_FINITE` after so many skipped steps in a row.'),
  })
  .describe(
    "Dynamic loss scaling of fp16, by the rule of PyTorch's GradScaler; it is decided and applied on the device.",
  )
  .register(settings, {
    name: 'LossScaling',
    synonyms: { initialScale: 'initScale', lossScaleWindow: 'growthInterval' },
  });

/** The loss scaling of a model in fp16 that was given none. */
export const DEFAULT_LOSS_SCALING: Required<LossScaling> = lossScalingSchema.parse({});
