// Generated from the schemas of optimizer_settings.ts by 'npm run settings': change them instead.

/** Settings that only some optimizers have; a setting of another optimizer is an error. */
export interface OptimizerArguments {
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
}

/**
 * Optimizers by name: AdamW (Loshchilov and Hutter 2019, algorithm 2), Adam with L2 decay (Kingma and Ba 2015,
 * algorithm 1), SGD with or without momentum, RAdam (Liu et al. 2020, algorithm 2).
 */
export type OptimizerType = 'adamw' | 'adam' | 'sgd' | 'radam';

/** What RAdam does in the first steps, when the variance of its adaptive rate is not known yet. */
export type RAdamFirstSteps = 'torch' | 'momentum' | 'decayOnly' | 'none';
