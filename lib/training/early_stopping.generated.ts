// Generated from the schemas of early_stopping.ts by 'npm run settings': change them instead.

/** When to end a run whose evaluations have stopped improving. */
export interface EarlyStoppingOptions {
  /** Evaluations in a row without improvement after which the run ends. An integer from 1 to 1,000,000. Default 1. */
  readonly patience?: number;
  /**
   * How far a loss must be below the best so far to count as an improvement, in nats. A number from 0 to 1e9. Default
   * 0.
   */
  readonly minDelta?: number;
}
