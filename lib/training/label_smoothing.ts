import { TesseraeError } from '../errors';
import type { ResolvedTrainingArguments } from './arguments';

/**
 * Label smoothing in the form of the kernels: ε' of (1 − ε') · onehot + ε' ÷ V over all V tokens. With labelSmoothingType
 * 'others' the target has 1 − ε and each other token ε ÷ (V − 1), so ε' = ε · V ÷ (V − 1).
 *
 * @throws TesseraeError `ERR_CONFIG` if ε of 'others' leaves the target no more probability than any other token.
 */
export function kernelSmoothing(
  {
    labelSmoothing,
    labelSmoothingType,
  }: Pick<ResolvedTrainingArguments, 'labelSmoothing' | 'labelSmoothingType'>,
  vocabSize: number,
): number {
  if (labelSmoothing === 0 || labelSmoothingType === 'uniform') return labelSmoothing;
  const limit = (vocabSize - 1) / vocabSize;
  // The form of the kernels.
  if (Math.fround(labelSmoothing / limit) >= 1)
    throw new TesseraeError(
      'ERR_CONFIG',
      `labelSmoothing ${labelSmoothing} leaves the target no more probability than each of the other ${vocabSize - 1} tokens: ` +
        `with labelSmoothingType 'others' it must be below ${limit.toPrecision(4)}`,
      { details: { path: 'labelSmoothing' } },
    );
  return labelSmoothing / limit;
}
