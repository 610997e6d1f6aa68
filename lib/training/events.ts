import type { ErrorCode } from '../errors';

/** Progress of a training run; one event each `loggingSteps` steps, and one for the last step. */
export interface StepEvent {
  readonly type: 'step';
  /** Steps so far; the first is 1. */
  readonly step: number;
  /** Mean loss of a target since the last step that was a multiple of loggingSteps, in nats. */
  readonly loss: number;
  /** Norm of the step's mean gradient, before clipping. */
  readonly gradNorm: number;
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

export interface EvaluateEvent extends EvaluationResult {
  readonly type: 'evaluate';
  readonly step: number;
}

/** A checkpoint is on the disk. It is written while training goes on, so later steps may have been reported before. */
export interface SaveEvent {
  readonly type: 'save';
  /** The step that it was taken after. */
  readonly step: number;
  /** Folder of the checkpoint. */
  readonly path: string;
}

/** Something that does not end the run, but should not go unnoticed: a checkpoint that failed, a disk that fills up. */
export interface WarningEvent {
  readonly type: 'warning';
  readonly step: number;
  readonly code: ErrorCode;
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

export interface EndEvent extends TrainResult {
  readonly type: 'end';
}

/** What a run reports, in order: steps, each followed by the evaluation that is due, checkpoints once written, then `end`. */
export type TrainerEvent = StepEvent | EvaluateEvent | SaveEvent | WarningEvent | EndEvent;

/**
 * Called with every event; the run waits for it. Returning `{ stop: true }` ends the run as if this step were the last.
 */
export type TrainerCallback = (
  event: TrainerEvent,
) => void | { readonly stop?: boolean } | Promise<void | { readonly stop?: boolean }>;

/** What one call of `Trainer.step` measured. */
export interface StepMetrics {
  /** Steps so far. */
  readonly step: number;
  /** Mean loss of a target, in nats. */
  readonly loss: number;
  /** Norm of the mean gradient, before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Targets that had a loss. */
  readonly tokens: number;
  /** False when the step changed nothing, because a gradient was not finite in fp16. */
  readonly applied: boolean;
  /** What the next step's loss will be multiplied by; only in fp16. */
  readonly lossScale?: number;
}
