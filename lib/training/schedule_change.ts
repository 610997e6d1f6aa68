import type { TrainerState } from '../checkpoint/trainer_state';
import { TesseraeError } from '../errors';
import { momentaOf, plainArguments, ratesOf, type ResolvedTrainingArguments } from './arguments';

/** How the learning rates of a run change that resumes with another maxSteps. */
export interface ScheduleChange {
  /** The arguments as saved with the old maxSteps: a function is identified by its rates over that many steps. */
  readonly plain: Record<string, unknown>;
  /** Says that the steps so far had other rates than in the new schedule; empty if they had the same. */
  readonly notice: readonly string[];
}

/**
 * Compares the schedule of a checkpoint's run with the new one. The device indexes rates by steps applied, so the remaining
 * steps have the rates of the new schedule.
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
    // A schedule that can't have that many steps is a different one.
    if (!(error instanceof TesseraeError)) throw error;
    return { plain: plainArguments(args), notice: [] };
  }
}

function notice(was: Float32Array, is: Float32Array, applied: number): string {
  const text = (rate = NaN): string => String(Number(rate.toPrecision(4)));
  const planned =
    applied < was.length ? `would be ${text(was[applied])}` : `was ${text(was.at(-1))} at the end`;
  return (
    `maxSteps was ${was.length}, but is ${is.length} now: the steps so far used the learning rates for ${was.length} steps, ` +
    `and the remaining steps use those for ${is.length}; the rate ${planned}, and becomes ${text(is[applied])}`
  );
}
