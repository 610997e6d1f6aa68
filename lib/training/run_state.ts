import type { TrainerState } from '../checkpoint/trainer_state';
import type { OptimizationStep } from './optimization';

/** A trainer's counts over its steps; all of them are part of a checkpoint. */
export class RunState {
  /** Optimizer steps so far. */
  steps = 0;
  /** Number of tokens read. */
  tokens = 0;
  /** Number of skipped steps, because a gradient was not finite in fp16. */
  skipped = 0;
  /** The last evaluation and its step. */
  evaluated: { readonly step: number; readonly loss: number } | undefined;
  /** Loss of the steps since the last multiple of loggingSteps. */
  private interval = { lossSum: 0, validTargets: 0 };

  constructor(private readonly loggingSteps: number) {}

  /** Mean loss per target since the last step that was a multiple of loggingSteps, in nats. */
  get loss(): number {
    return this.interval.lossSum / this.interval.validTargets;
  }

  /** Counts a step, even one that failed: its batch was used and its random numbers were drawn. */
  count({ tokens, applied, failure, lossSum, validTargets }: OptimizationStep): void {
    this.steps++;
    this.tokens += tokens;
    if ((this.steps - 1) % this.loggingSteps === 0) this.interval = { lossSum: 0, validTargets: 0 };
    if (failure) return;
    if (!applied) this.skipped++;
    const { interval } = this;
    this.interval = {
      lossSum: interval.lossSum + lossSum,
      validTargets: interval.validTargets + validTargets,
    };
  }

  /** Its part of a checkpoint. */
  saved(): Pick<TrainerState, 'step' | 'skipped' | 'tokens' | 'interval' | 'evaluationLoss'> {
    const { steps: step, skipped, tokens, interval, evaluated } = this;
    return {
      step,
      skipped,
      tokens,
      interval,
      ...(evaluated?.step === step ? { evaluationLoss: evaluated.loss } : {}),
    };
  }

  /** Restores the counts of a checkpoint. */
  restore({ step, skipped, tokens, interval, evaluationLoss }: TrainerState): void {
    this.steps = step;
    this.skipped = skipped;
    this.tokens = tokens;
    this.interval = interval;
    this.evaluated = evaluationLoss === undefined ? undefined : { step, loss: evaluationLoss };
  }
}
