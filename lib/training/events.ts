import type { ErrorCode } from '../errors';
import type { StepResult } from '../native';

/** Progress of a training run; one event each `loggingSteps` steps, and one for the last step. */
export interface StepEvent {
  /** Tells it from other events. */
  readonly type: 'step';
  /** Steps so far; the first is 1. */
  readonly step: number;
  /** Mean loss of a target since the last step that was a multiple of loggingSteps, in nats. */
  readonly loss: number;
  /** Norm of the step's mean gradient, before clipping. */
  readonly gradNorm: number;
  /** Of this step, by the schedule. */
  readonly learningRate: number;
  /** Tokens a second over the last steps, without evaluations and checkpoints. */
  readonly tokensPerSecond: number;
  /** Seconds that the steps still to come will take at this speed. */
  readonly etaSeconds: number;
  /** Tokens so far. */
  readonly tokens: number;
  /** Steps so far that changed nothing, because a gradient was not finite in fp16. */
  readonly skippedSteps: number;
  /** What the next step's loss will be multiplied by; only in fp16. */
  readonly lossScale?: number;
}

/** What an evaluation found. */
export interface EvaluationResult {
  /** Mean loss of a target, in nats. */
  readonly loss: number;
  /** e to the power of the loss. */
  readonly perplexity: number;
  /** Targets that were evaluated. */
  readonly tokens: number;
}

/** The model was evaluated. */
export interface EvaluateEvent extends EvaluationResult {
  /** Tells it from other events. */
  readonly type: 'evaluate';
  /** Steps before it. */
  readonly step: number;
}

/** A checkpoint is on the disk. It is written while training goes on, so later steps may have been reported before. */
export interface SaveEvent {
  /** Tells it from other events. */
  readonly type: 'save';
  /** The step that it was taken after. */
  readonly step: number;
  /** Folder of the checkpoint. */
  readonly path: string;
}

/** Something that does not end the run, but should not go unnoticed: a checkpoint that failed, a disk that fills up. */
export interface WarningEvent {
  /** Tells it from other events. */
  readonly type: 'warning';
  /** Steps so far. */
  readonly step: number;
  /** Of the error that it would be, if it ended the run. */
  readonly code: ErrorCode;
  /** What is wrong and what to do. */
  readonly message: string;
}

/** How a run ended. */
export interface TrainResult {
  /** `maxSteps`: all steps were done; `stopped`: a callback or `Trainer.stop` ended it. */
  readonly reason: 'maxSteps' | 'stopped';
  /** Steps of the trainer so far. */
  readonly step: number;
  /** Mean loss of the steps of the last `step` event, perhaps of the run before, in nats; NaN before the first step. */
  readonly loss: number;
  /** The last evaluation, when there was one. */
  readonly evaluation?: EvaluationResult;
  /** Folder of the last checkpoint, when one was written. */
  readonly checkpoint?: string;
  /** Tokens of the trainer so far. */
  readonly tokens: number;
  /** Seconds of this run, evaluations and checkpoints included. */
  readonly seconds: number;
}

/** The run has ended; the last event, unless the run fails or its loop is left. */
export interface EndEvent extends TrainResult {
  /** Tells it from other events. */
  readonly type: 'end';
}

/** What a run reports, in order: steps, each followed by the evaluation that is due, checkpoints once written, then `end`. */
export type TrainerEvent = StepEvent | EvaluateEvent | SaveEvent | WarningEvent | EndEvent;

/**
 * Called with every event; the run waits for it. Returning `{ stop: true }` ends the run as if this step were the last.
 */
export type TrainerCallback = (event: TrainerEvent) => CallbackResult | Promise<CallbackResult>;

/** What a callback returns: nothing, or whether the run should end. */
export type CallbackResult = void | {
  /** Whether the run ends as if this step were the last. Default false. */
  readonly stop?: boolean;
};

/** What one call of `Trainer.step` measured. */
export interface StepMetrics {
  /** Steps so far. */
  readonly step: number;
  /** Mean loss of a target, in nats; of the first loss, where a model has several, NaN without targets. */
  readonly loss: number;
  /** Mean of each loss by its name in the Graph; only of a model that has several. */
  readonly losses?: Readonly<Record<string, number>>;
  /** Norm of the mean gradient, before clipping. */
  readonly gradNorm: number;
  /** Of this step, by the schedule. */
  readonly learningRate: number;
  /** Targets that had a loss. */
  readonly tokens: number;
  /** False when the step changed nothing, because a gradient was not finite in fp16. */
  readonly applied: boolean;
  /** What the next step's loss will be multiplied by; only in fp16. */
  readonly lossScale?: number;
}

/** What native code measured in a step, by the names that StepEvent and StepMetrics report it under. */
export function measurementsOf({
  gradNorm,
  learningRate,
}: StepResult): Pick<StepEvent & StepMetrics, 'gradNorm' | 'learningRate'> {
  return { gradNorm, learningRate };
}
