import type { ErrorCode } from '../errors';
import type { StepResult } from '../native';

/** Progress of a training run: one event every `loggingSteps` steps, and one at the last step. */
export interface StepEvent {
  /** Tells it from other events. */
  readonly type: 'step';
  /** Steps so far; the first is 1. */
  readonly step: number;
  /** Mean loss per target since the last step that was a multiple of loggingSteps, in nats. */
  readonly loss: number;
  /** Norm of the step's mean gradient, before clipping. */
  readonly gradNorm: number;
  /** Of this step, by the schedule. */
  readonly learningRate: number;
  /** Tokens per second over the last steps, without evaluations and checkpoints. */
  readonly tokensPerSecond: number;
  /** Seconds that the remaining steps will take at this speed. */
  readonly etaSeconds: number;
  /** Tokens so far. */
  readonly tokens: number;
  /** Number of steps skipped so far, because a gradient was not finite in fp16. */
  readonly skippedSteps: number;
  /** What the next step's loss will be multiplied by; only in fp16. */
  readonly lossScale?: number;
}

/** The result of an evaluation. */
export interface EvaluationResult {
  /** Mean loss of a target, in nats. */
  readonly loss: number;
  /** e to the power of the loss. */
  readonly perplexity: number;
  /** Number of evaluated targets. */
  readonly tokens: number;
}

/** The model was evaluated. */
export interface EvaluateEvent extends EvaluationResult {
  /** Tells it from other events. */
  readonly type: 'evaluate';
  /** Steps before it. */
  readonly step: number;
}

/** A checkpoint is on the disk. It is written during training, so later steps may have been reported before it. */
export interface SaveEvent {
  /** Tells it from other events. */
  readonly type: 'save';
  /** The step after which it was taken. */
  readonly step: number;
  /** Folder of the checkpoint. */
  readonly path: string;
}

/** A problem that does not end the run but needs attention: a checkpoint that failed, a disk that fills up. */
export interface WarningEvent {
  /** Tells it from other events. */
  readonly type: 'warning';
  /** Steps so far. */
  readonly step: number;
  /** Code of the error that it would be if it ended the run. */
  readonly code: ErrorCode;
  /** What is wrong and what to do. */
  readonly message: string;
}

/** How a run ended. */
export interface TrainResult {
  /** `maxSteps`: all steps were done; `stopped`: a callback or `Trainer.stop` ended it. */
  readonly reason: 'maxSteps' | 'stopped';
  /** Number of steps of the trainer so far. */
  readonly step: number;
  /** Mean loss of the last `step` event, perhaps of an earlier run, in nats; NaN before the first step. */
  readonly loss: number;
  /** The last evaluation, if there was one. */
  readonly evaluation?: EvaluationResult;
  /** Folder of the last checkpoint, if one was written. */
  readonly checkpoint?: string;
  /** Number of tokens that the trainer has read so far. */
  readonly tokens: number;
  /** Duration of this run in seconds, evaluations and checkpoints included. */
  readonly seconds: number;
}

/** The run has ended. This is the last event, unless the run fails or you leave its loop. */
export interface EndEvent extends TrainResult {
  /** Tells it from other events. */
  readonly type: 'end';
}

/** The events of a run in order: steps, each followed by the evaluation due, checkpoints once written, then `end`. */
export type TrainerEvent = StepEvent | EvaluateEvent | SaveEvent | WarningEvent | EndEvent;

/**
 * Called with every event; the run waits for it. Returning `{ stop: true }` ends the run as if this step were the last.
 */
export type TrainerCallback = (event: TrainerEvent) => CallbackResult | Promise<CallbackResult>;

/** What a callback may return, to end the run. */
export type CallbackResult = void | {
  /** Whether to end the run as if this step were the last. Default false. */
  readonly stop?: boolean;
};

/** The measurements of one call of `Trainer.step`. */
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
  /** Number of targets with a loss. */
  readonly tokens: number;
  /** False if the step was skipped, because a gradient was not finite in fp16. */
  readonly applied: boolean;
  /** What the next step's loss will be multiplied by; only in fp16. */
  readonly lossScale?: number;
}

/** The native measurements of a step, under their names in StepEvent and StepMetrics. */
export function measurementsOf({
  gradNorm,
  learningRate,
}: StepResult): Pick<StepEvent & StepMetrics, 'gradNorm' | 'learningRate'> {
  return { gradNorm, learningRate };
}
