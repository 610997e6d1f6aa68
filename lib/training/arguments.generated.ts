// Generated from the schemas of arguments.ts by 'npm run settings': change them instead.

import type { EarlyStoppingOptions } from './early_stopping.generated';
import type { LossScaling } from './loss_scaling.generated';
import type { OptimizerType, RAdamFirstSteps } from './optimizer_settings.generated';
import type { ParameterGroup } from './parameter_groups.generated';
import type { LrScheduleFunction } from './schedule_settings';
import type { LrSchedulerKwargs, LrSchedulerType } from './schedule_settings.generated';

/** How label smoothing spreads probability. */
export type LabelSmoothingType = 'uniform' | 'others';

/** How to train. Names are Hugging Face's in camelCase. */
export interface TrainingArguments {
  /** Optimizer steps. An integer from 1 to 10,000,000. */
  readonly maxSteps: number;
  /** Rows of a micro-batch, over all ranks. An integer from 1 to 65,536. Default 8. */
  readonly batchSize?: number;
  /** Micro-batches whose gradients make one step. An integer from 1 to 65,536. Default 1. */
  readonly gradientAccumulationSteps?: number;
  /** The highest learning rate; not needed with a schedule of your own. A number from 0 to 100. Default 6e-4. */
  readonly learningRate?: number;
  /** The optimizer: AdamW; Adam with L2 decay; SGD; RAdam (see docs/optimizers.md). Default 'adamw'. */
  readonly optim?: OptimizerType;
  /**
   * Weight decay of matrices; biases and norms have none. `adamw` shrinks the weights by it, others add it to the
   * gradient (`radam` as decoupledWeightDecay says). A number from 0 to 100. Default 0.1 for `adamw`, 0 for others.
   */
  readonly weightDecay?: number;
  /** `adamw`, `adam`, `radam`: decay rate of the first moment. A number from 0 and below 1. Default 0.9. */
  readonly adamBeta1?: number;
  /** `adamw`, `adam`, `radam`: decay rate of the second moment. A number from 0 and below 1. Default 0.95. */
  readonly adamBeta2?: number;
  /** `adamw`, `adam`, `radam`: added to the root of the second moment. A number above 0 to 1. Default 1e-8. */
  readonly adamEpsilon?: number;
  /** `sgd`: decay rate of the sum of gradients. A number from 0 and below 1. Default 0, which keeps no moment. */
  readonly momentum?: number;
  /** `sgd`: look ahead by one step of momentum. Default false. */
  readonly nesterov?: boolean;
  /**
   * `radam`: the steps before the rectifier is defined (5 for adamBeta2 from 0.98). `torch` and `momentum` move by the
   * first moment (torch.optim.RAdam; LiyuanLucasLiu/RAdam with degenerated_to_sgd), `decayOnly` only decays, `none`
   * does nothing (LiyuanLucasLiu/RAdam). Default 'torch'.
   */
  readonly radamFirstSteps?: RAdamFirstSteps;
  /** `radam`: decay the weights as AdamW does, not through the gradient. Default: false for `torch`, else true. */
  readonly decoupledWeightDecay?: boolean;
  /** Groups of parameters with settings of their own; the first group that matches a parameter decides. */
  readonly parameterGroups?: readonly ParameterGroup[];
  /**
   * Keeps an exponential moving average of the parameters, ema = emaDecay · ema + (1 − emaDecay) · parameters after
   * every applied step, and saves it in checkpoints; 0: none. Evaluations use the parameters, not the average. A number
   * from 0 and below 1. Default 0.
   */
  readonly emaDecay?: number;
  /** Global norm that gradients are clipped to; 0: no clipping. A number from 0 to 1e9. Default 1. */
  readonly maxGradNorm?: number;
  /**
   * How the rate falls after warmup: a name, or in TypeScript a function from steps applied to the rate. Default
   * 'cosine'.
   */
  readonly lrScheduler?: LrSchedulerType | LrScheduleFunction;
  /** Settings that only some schedules have, such as `numCycles`. */
  readonly lrSchedulerKwargs?: LrSchedulerKwargs;
  /**
   * The rate at the end of `cosine` and `cosineWithRestarts` (default learningRate ÷ 10), `linear`, `polynomial` and
   * `warmupStableDecay` (default 0); other schedules have none. A number from 0 to 100.
   */
  readonly minLearningRate?: number;
  /**
   * Steps in which the rate rises to learningRate. If 0, `oneCycle` rises for 30 % of maxSteps. An integer from 0 to
   * 10,000,000. Default 0.
   */
  readonly warmupSteps?: number;
  /**
   * The first rate of warmup, at most learningRate. A number from 0 to 100. Default learningRate ÷ warmupSteps; Hugging
   * Face uses 0.
   */
  readonly warmupInitLearningRate?: number;
  /** Share ε of each target's probability that moves to other tokens. A number from 0 and below 1. Default 0. */
  readonly labelSmoothing?: number;
  /**
   * Which tokens receive it: with `uniform`, each of the V tokens, the target included, gets ε ÷ V (PyTorch, fairseq
   * before 2021); with `others`, each other token gets ε ÷ (V − 1) (fairseq since 2021). Default 'uniform'.
   */
  readonly labelSmoothingType?: LabelSmoothingType;
  /** Dynamic loss scaling. Only models in fp16 use it, and they always do. */
  readonly lossScaling?: LossScaling;
  /** Steps between evaluations; 0: at the end only. An integer from 0 to 10,000,000. Default 0. */
  readonly evalSteps?: number;
  /** Ends the run when evaluations stop improving; needs evalSteps. Default: never. */
  readonly earlyStopping?: EarlyStoppingOptions;
  /** Largest number of batches in one evaluation. An integer from 1 to 1,000,000. Default 20. */
  readonly evalBatches?: number;
  /** Steps between checkpoints in outputDir; 0: at the end only. An integer from 0 to 10,000,000. Default 0. */
  readonly saveSteps?: number;
  /**
   * Newest checkpoints to keep in outputDir, in addition to the best and those with a file `pinned`; 0: all. An integer
   * from 0 to 1,000,000. Default 0.
   */
  readonly saveTotalLimit?: number;
  /**
   * Checkpoints with the lowest evaluation loss to keep in addition to those of saveTotalLimit. An integer from 0 to
   * 1,000,000. Default 1.
   */
  readonly saveBestLimit?: number;
  /**
   * Steps between `step` events. Between events a GPU goes from step to step without waiting for JavaScript. An integer
   * from 1 to 10,000,000. Default 10.
   */
  readonly loggingSteps?: number;
  /** Decides which rows each step draws. An integer of at least 0. Default 0. */
  readonly seed?: number;
  /**
   * Folder of checkpoints, `checkpoint-<step>`. Default: a Trainer writes none; the command line uses `runs/<name of
   * the configuration>`.
   */
  readonly outputDir?: string;
  /** Where else to report steps and evaluations: `tensorboard` writes event files to outputDir. Default: nowhere. */
  readonly reportTo?: readonly 'tensorboard'[];
}
