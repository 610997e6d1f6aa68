// Generated from the schemas of early_stopping.ts by 'npm run settings': change them instead.

/** When evaluations have stopped getting better. */
export interface EarlyStoppingOptions {
  /** Evaluations in a row without improvement that end the run. An integer from 1 to 1,000,000. Default 1. */
  readonly patience?: number;
  /**
   * Nats by which a loss must be lower than the best so far to count as improvement. A number from 0 to 1e9. Default 0.
   */
  readonly minDelta?: number;
}
