import { z } from 'zod';
import type { Padding } from '../native';
import { settings } from './settings';

/** Validates Padding. */
export const paddingSchema = z
  .enum(['default', 'chip'] satisfies Padding[])
  .describe(
    'How axes are padded in memory: `default`, the same on every chip: vocabulary to multiples of 64, widths and heads to 8; or ' +
      '`chip`, which pads widths to whole cache lines of the chip: 64 for 16-bit precisions, 32 for fp32 and TF32 on a GPU, 16 on ' +
      "the CPU. Results are the same up to rounding, and files don't depend on it. Default 'default'.",
  )
  .register(settings, { type: 'Padding', imports: { Padding: '../native' } });
