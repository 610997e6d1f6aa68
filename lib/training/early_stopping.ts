import { z } from 'zod';
import { parseConfig } from '../models/validation';
import type { TrainerEvent } from './events';

/** When evaluations have stopped getting better. */
export interface EarlyStoppingOptions {
  /** Evaluations in a row without improvement that end the run, 1 to 1,000,000. Default 1. */
  readonly patience?: number;
  /** Nats by which a loss must be lower than the best so far to count as improvement, at least 0. Default 0. */
  readonly minDelta?: number;
}

/** Validates EarlyStoppingOptions. */
export const earlyStoppingSchema = z.strictObject({
  patience: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1)
    .describe('Evaluations in a row without improvement that end the run'),
  minDelta: z
    .number()
    .min(0)
    .max(1e9)
    .default(0)
    .describe('Nats by which a loss must be lower than the best to count as improvement'),
});

const synonyms = {
  threshold: 'minDelta',
  earlyStoppingThreshold: 'minDelta',
  earlyStoppingPatience: 'patience',
};

/** The best evaluation so far. */
export interface BestEvaluation {
  /** Steps before it. */
  readonly step: number;
  /** Mean loss of a target, in nats. */
  readonly loss: number;
}

/** A TrainerCallback that knows the best evaluation. */
export interface EarlyStopping {
  /** Takes in an event; after an evaluation it says whether the run should end. */
  (event: TrainerEvent): {
    /** Whether the run ends as if this step were the last. */
    readonly stop: boolean;
  } | void;
  /** Undefined before an evaluation with a finite loss. */
  readonly best: BestEvaluation | undefined;
}

/**
 * A callback that ends a run when `patience` evaluations in a row were not better than the best one before them. A loss
 * that is not finite is not better. It goes on counting when a stopped run goes on; give each trainer its own.
 *
 * @throws TesseraeError `ERR_CONFIG` for a wrong option.
 *
 * @example
 * const stopping = earlyStopping({ patience: 3, minDelta: 1e-3 });
 * await new Trainer(model, { ...options, callbacks: [stopping] }).train();
 * console.log(stopping.best?.step);
 */
export function earlyStopping(options: EarlyStoppingOptions = {}): EarlyStopping {
  const { patience, minDelta } = parseConfig(earlyStoppingSchema, options, { synonyms });
  let best: BestEvaluation | undefined;
  let waited = 0;
  const listen = (event: TrainerEvent): { readonly stop: boolean } | void => {
    if (event.type !== 'evaluate') return;
    const { step, loss } = event;
    if (Number.isFinite(loss) && (best === undefined || loss < best.loss - minDelta)) {
      best = { step, loss };
      waited = 0;
    } else waited++;
    return { stop: waited >= patience };
  };
  return Object.defineProperty(listen, 'best', { get: () => best, enumerable: true }) as EarlyStopping;
}
