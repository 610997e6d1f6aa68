import { z } from 'zod';
import { integer, number, settings } from '../models/settings';
import { parseConfig } from '../models/validation';
import type { EarlyStoppingOptions } from './early_stopping.generated';
import type { TrainerEvent } from './events';

export type * from './early_stopping.generated';

/** Validates EarlyStoppingOptions. */
export const earlyStoppingSchema = z
  .strictObject({
    patience: integer(1, 1_000_000)
      .default(1)
      .describe('Evaluations in a row without improvement that end the run.'),
    minDelta: number(0, 1e9)
      .default(0)
      .describe('Nats by which a loss must be lower than the best so far to count as improvement.'),
  })
  .describe('When evaluations have stopped getting better.')
  .register(settings, {
    name: 'EarlyStoppingOptions',
    synonyms: {
      threshold: 'minDelta',
      earlyStoppingThreshold: 'minDelta',
      earlyStoppingPatience: 'patience',
    },
  });

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

/** What it has counted; part of a checkpoint. */
export interface StoppingState {
  /** The best evaluation so far; absent before one with a finite loss. */
  readonly best?: BestEvaluation | undefined;
  /** Evaluations since then. */
  readonly waited: number;
}

/** What a trainer does with the state of an EarlyStopping. */
export interface StoppingAccess {
  state: StoppingState;
  readonly patience: number;
}

const accesses = new WeakMap<object, StoppingAccess>();

/** How the state of a callback is read and set; undefined for one that `earlyStopping` did not make. */
export const accessTo = (callback: object): StoppingAccess | undefined => accesses.get(callback);

/**
 * A callback that ends a run when `patience` evaluations in a row were not better than the best one before them. A loss
 * that is not finite is not better. A trainer saves what it has counted and resumes it; give each trainer its own.
 *
 * @throws TesseraeError `ERR_CONFIG` for a wrong option.
 *
 * @example
 * const stopping = earlyStopping({ patience: 3, minDelta: 1e-3 });
 * await new Trainer(model, { ...options, callbacks: [stopping] }).train();
 * console.log(stopping.best?.step);
 */
export function earlyStopping(options: EarlyStoppingOptions = {}): EarlyStopping {
  const { patience, minDelta } = parseConfig(earlyStoppingSchema, options);
  let state: StoppingState = { waited: 0 };
  const listen = (event: TrainerEvent): { readonly stop: boolean } | void => {
    if (event.type !== 'evaluate') return;
    const { step, loss } = event;
    const { best, waited } = state;
    const better = Number.isFinite(loss) && (best === undefined || loss < best.loss - minDelta);
    state = better ? { best: { step, loss }, waited: 0 } : { best, waited: waited + 1 };
    return { stop: state.waited >= patience };
  };
  accesses.set(listen, {
    get state() {
      return state;
    },
    set state(given) {
      state = given;
    },
    patience,
  });
  return Object.defineProperty(listen, 'best', {
    get: () => state.best,
    enumerable: true,
  }) as EarlyStopping;
}
