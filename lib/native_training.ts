/** The types of native training: its options, and the results of a step. lib/native.ts exports them. */

/** How parameters follow their gradients. */
export type OptimizerSettings =
  | ({ readonly type: 'adamw' | 'adam' } & AdamSettings)
  | ({
      readonly type: 'radam';
      readonly firstSteps: 'torch' | 'momentum' | 'decayOnly' | 'none';
      readonly decoupledWeightDecay: boolean;
    } & AdamSettings)
  | {
      readonly type: 'sgd';
      /** In [0, 1); 0: no momentum, and no moment in memory. */
      readonly momentum: number;
      readonly nesterov: boolean;
      readonly weightDecay: number;
    };

interface AdamSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Weight decay of the parameters that decay. */
  readonly weightDecay: number;
}

/** The settings of one parameter. */
export interface ParameterSettings {
  /** Weight decay in place of the optimizer's, whatever the Graph says about the parameter. */
  readonly weightDecay?: number | undefined;
  /** What the learning rate is multiplied by, above 0. */
  readonly learningRateScale?: number | undefined;
  /** False: the parameter is frozen and has no gradient. */
  readonly trainable?: boolean | undefined;
}

/** How the optimizer works; fixed while a trainer uses the model. */
export interface NativeTrainingOptions {
  readonly optimizer: OptimizerSettings;
  /** By name; other parameters use the optimizer's settings. */
  readonly parameters?: Readonly<Record<string, ParameterSettings>>;
  /** Global norm that gradients are clipped to; 0: no clipping. */
  readonly maxGradNorm: number;
  readonly labelSmoothing: number;
  /** Of the moving average of the parameters, in (0, 1); 0: none. Default 0. */
  readonly emaDecay?: number;
  /** Dynamic loss scaling, by the rule of PyTorch's GradScaler. Default: none. */
  readonly lossScaling?: {
    readonly initScale: number;
    readonly growthFactor: number;
    readonly backoffFactor: number;
    readonly growthInterval: number;
  };
  /** Rate of each optimizer step, by applied steps; the last holds for all later ones. */
  readonly learningRates: Float32Array;
  /** Momentum (or beta 1) of each optimizer step, likewise. Default: the optimizer's in all. */
  readonly momenta?: Float32Array;
}

/** What one optimizer step measured: the metrics of `StepState` in native/ops/state.h, by their names. */
export interface StepResult {
  /** Sum over valid targets of the loss, in nats, and how many there were. */
  readonly lossSum: number;
  readonly validTargets: number;
  /** The same for each of the Graph's losses, in its order, including the first. */
  readonly losses: readonly { readonly sum: number; readonly validTargets: number }[];
  /** Norm of the mean gradient, before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /** False when the step was skipped because its gradient was not finite or no target was valid. */
  readonly applied: boolean;
  readonly attemptedSteps: number;
  readonly appliedSteps: number;
  /** What the next step's loss will be multiplied by; 1 without loss scaling. */
  readonly lossScale: number;
  /** Steps in a row, up to this one, without a finite gradient. */
  readonly skippedInRow: number;
}

/** Optimizer steps so far: `Counters` in native/ops/state.h. */
export interface StepCounters {
  /** Those that were tried. */
  readonly attempted: number;
  /** Those that changed the parameters. */
  readonly applied: number;
}

/** What dynamic loss scaling remembers from step to step: `LossScaler` in native/ops/state.h. */
export interface LossScaler {
  readonly scale: number;
  /** Steps with a finite gradient since the scale last changed. */
  readonly cleanSteps: number;
  /** Steps in a row without a finite gradient. */
  readonly skippedInRow: number;
}
