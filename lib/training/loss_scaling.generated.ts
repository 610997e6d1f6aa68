// Generated from the schemas of loss_scaling.ts by 'npm run settings': change them instead.

/** Dynamic loss scaling of fp16, by the rule of PyTorch's GradScaler. The device applies it. */
export interface LossScaling {
  /** Factor of the first loss, so that small gradients do not vanish in fp16. A number above 0. Default 65,536. */
  readonly initScale?: number;
  /**
   * Factor by which the scale grows after growthInterval steps without an overflow. A number of at least 1. Default 2.
   */
  readonly growthFactor?: number;
  /**
   * Factor by which the scale shrinks after a step whose gradient was not finite; that step is skipped. A number above
   * 0 and below 1. Default 0.5.
   */
  readonly backoffFactor?: number;
  /** Steps in a row without an overflow after which the scale grows. An integer of at least 1. Default 2000. */
  readonly growthInterval?: number;
  /** Skipped steps in a row after which training stops with `ERR_NON_FINITE`. An integer of at least 1. Default 25. */
  readonly maxSkippedSteps?: number;
}
