// Generated from the schemas of schedule_settings.ts by 'npm run settings': change them instead.

/** Settings that only some schedules have; a setting of another schedule is an error. */
export interface LrSchedulerKwargs {
  /**
   * `cosineWithRestarts`: number of times that the rate falls from its maximum. An integer from 1 to 10,000. Default 1,
   * which is `cosine`.
   */
  readonly numCycles?: number;
  /** `polynomial`: exponent of the share of remaining steps. A number above 0 to 100. Default 1, which is `linear`. */
  readonly power?: number;
  /**
   * `inverseSqrt`: steps after which the rate has fallen by √2. A number from 1 to 1e9. Default warmupSteps, or 10,000
   * without.
   */
  readonly timescale?: number;
  /**
   * `oneCycle`: share of the run during which the rate rises; at most 0.5 with threePhase. A number from 0 to 1.
   * Default 0.3.
   */
  readonly pctStart?: number;
  /** `oneCycle`: the first rate is learningRate ÷ divFactor. A number from 1 to 1e9. Default 25. */
  readonly divFactor?: number;
  /** `oneCycle`: the last rate is the first ÷ finalDivFactor. A number from 1 to 1e9. Default 10,000. */
  readonly finalDivFactor?: number;
  /**
   * `oneCycle`: fall to the first rate as fast as the rate rose, then to the last. Default false: fall to the last at
   * once.
   */
  readonly threePhase?: boolean;
  /** `oneCycle`: along a half cosine or a line. Default 'cos'. */
  readonly annealStrategy?: 'cos' | 'linear';
  /**
   * `oneCycle`: change momentum, or Adam's beta 1, opposite to the rate: from maxMomentum down to baseMomentum and
   * back. It replaces `momentum` or `adamBeta1`. Default false; PyTorch's OneCycleLR does it by default.
   */
  readonly cycleMomentum?: boolean;
  /**
   * `oneCycle`: the lowest momentum of cycleMomentum, at the highest rate. A number from 0 and below 1. Default 0.85.
   */
  readonly baseMomentum?: number;
  /**
   * `oneCycle`: the highest momentum of cycleMomentum, at the first rate and below. A number from 0 and below 1.
   * Default 0.95.
   */
  readonly maxMomentum?: number;
  /**
   * `warmupStableDecay`: steps of the decay at the end. An integer from 1 to 10,000,000. Default: a fifth of maxSteps,
   * but no more than the steps after warmup.
   */
  readonly numDecaySteps?: number;
  /** `warmupStableDecay`: the shape of the decay. Default 'cosine'. */
  readonly decayType?: 'cosine' | 'linear' | '1-sqrt';
}

/**
 * How the learning rate changes over a run: Hugging Face's lr_scheduler_type in camelCase, and PyTorch's OneCycleLR.
 * docs/schedules.md has the formulas.
 */
export type LrSchedulerType =
  | 'cosine'
  | 'linear'
  | 'constant'
  | 'cosineWithRestarts'
  | 'polynomial'
  | 'inverseSqrt'
  | 'oneCycle'
  | 'warmupStableDecay';
