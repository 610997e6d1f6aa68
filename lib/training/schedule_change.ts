import type { TrainerState } from '../checkpoint/trainer_state';
import { TesseraeError } from '../errors';
import { momentaOf, plainArguments, ratesOf, type ResolvedTrainingArguments } from './arguments';

/** What becomes of the learning rates of a run that goes on with another maxSteps. */
export interface ScheduleChange {
  /** The arguments as they would have been saved with the maxSteps of then: a function is known by the rates of that many steps. */
  readonly plain: Record<string, unknown>;
  /** Says that the steps so far had other rates than they have in the schedule of now; empty where they had the same. */
  readonly notice: readonly string[];
}

/**
 * Compares the schedule of a checkpoint's run with that of now. The device indexes rates by steps applied, and so the steps
 * to come have the rates of the new schedule from where the run is.
 */
export function scheduleChange(
  { arguments: { maxSteps }, optimizer, step }: TrainerState,
  args: ResolvedTrainingArguments,
): ScheduleChange {
  if (typeof maxSteps !== 'number' || maxSteps === args.maxSteps)
    return { plain: plainArguments(args), notice: [] };
  const before = { ...args, maxSteps };
  try {
    const applied = optimizer?.applied ?? 0;
    const isSame = (was?: Float32Array, is?: Float32Array): boolean =>
      was?.subarray(0, applied).every((value, step) => value === is?.[step]) ?? true;
    const [was, is] = [ratesOf(before), ratesOf(args)];
    const nothingToCome = step >= args.maxSteps;
    const same = nothingToCome || (isSame(was, is) && isSame(momentaOf(before), momentaOf(args)));
    return { plain: plainArguments(before), notice: same ? [] : [notice(was, is, applied)] };
  } catch (error) {
    // A schedule that can't have that many steps is another one.
    if (!(error instanceof TesseraeError)) throw error;
    return { plain: plainArguments(args), notice: [] };
  }
}

function notice(was: Float32Array, is: Float32Array, applied: number): string {
  const text = (rate = NaN): string => String(Number(rate.toPrecision(4)));
  const planned = applied < was.length ? `would be ${text(was[applied])}` : `was ${text(was.at(-1))} at last`;
  return (
    `maxSteps was ${was.length}, and is ${is.length} now: the learning rates of the steps so far were those of ${was.length} ` +
    `steps, and from here on they are those of ${is.length}; the rate ${planned}, and becomes ${text(is[applied])}`
  );
}
