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
      .describe('Evaluations in a row without improvement after which the run ends.'),
    minDelta: number(0, 1e9)
      .default(0)
      .describe('How far a loss must be below the best so far to count as an improvement, in nats.'),
  })
  .describe('When to end a run whose evaluations have stopped improving.')
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
  /** Number of steps before it. */
  readonly step: number;
  /** Mean loss per target, in nats. */
  readonly loss: number;
}

/** A TrainerCallback that knows the best evaluation. */
export interface EarlyStopping {
  /** Handles an event; after an evaluation it says whether the run should end. */
  (event: TrainerEvent): {
    /** Whether the run ends as if this step were the last. */
    readonly stop: boolean;
  } | void;
  /** Undefined before an evaluation with a finite loss. */
  readonly best: BestEvaluation | undefined;
}

/** The state of an early stopping; part of a checkpoint. */
export interface StoppingState {
  /** The best evaluation so far; absent before one with a finite loss. */
  readonly best?: BestEvaluation | undefined;
  /** Number of evaluations since then. */
  readonly waited: number;
}

/** A trainer's access to the state of an EarlyStopping. */
export interface StoppingAccess {
  state: StoppingState;
  readonly patience: number;
}

const accesses = new WeakMap<object, StoppingAccess>();

/** Access to the state of a callback; undefined if `earlyStopping` did not make it. */
export const accessTo = (callback: object): StoppingAccess | undefined => accesses.get(callback);

/**
 * Makes a callback that ends a run when `patience` evaluations in a row do not improve on the best one. A loss that is not
 * finite is no improvement. A trainer saves and resumes the state of the callback; give each trainer its own.
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
