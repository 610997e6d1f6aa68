// Generated from the schemas of loss_scaling.ts by 'npm run settings': change them instead.

/** Dynamic loss scaling of fp16, by the rule of PyTorch's GradScaler; it is decided and applied on the device. */
export interface LossScaling {
  /**
   * What the first loss is multiplied by, so that small gradients do not vanish in fp16. A number above 0. Default
   * 65,536.
   */
  readonly initScale?: number;
  /**
   * What the scale is multiplied by after growthInterval steps without an overflow. A number of at least 1. Default 2.
   */
  readonly growthFactor?: number;
  /**
   * What the scale is multiplied by after a step whose gradient was not finite, which is skipped. A number above 0 and
   * below 1. Default 0.5.
   */
  readonly backoffFactor?: number;
  /** Steps in a row without an overflow after which the scale grows. An integer of at least 1. Default 2000. */
  readonly growthInterval?: number;
  /**
   * Training stops with `ERR_NON_FINITE` after so many skipped steps in a row. An integer of at least 1. Default 25.
   */
  readonly maxSkippedSteps?: number;
}
