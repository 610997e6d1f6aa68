import type { TrainerState } from '../checkpoint/trainer_state';
import { withoutUndefined } from '../models/validation';
import { accessTo, type StoppingAccess, type StoppingState } from './early_stopping';
import type { TrainerCallback } from './events';

const NOTHING: StoppingState = { waited: 0 };

/**
 * The early stopping of a trainer: the one of its arguments, and those among its callbacks. Only the evaluations due by
 * evalSteps count. The one at the end of a run counts only if it is due anyway: a resumed run must not stop sooner than one
 * that never ended.
 */
export class Stoppings {
  private readonly accesses: ReadonlyMap<string, StoppingAccess>;
  /** States after the last evaluation that counts. */
  private counted: ReadonlyMap<string, StoppingState>;

  /** @param argument - the early stopping of the arguments, if they have one. */
  constructor(callbacks: readonly TrainerCallback[], argument: TrainerCallback | undefined) {
    const named = [
      ...callbacks.map((callback, i) => [`callback ${i}`, accessTo(callback)] as const),
      ['argument', argument && accessTo(argument)] as const,
    ];
    this.accesses = new Map(named.flatMap(([name, access]) => (access ? [[name, access] as const] : [])));
    this.counted = this.states();
  }

  /** Whether the patience of one of them has run out, so that the run ends. */
  get reached(): boolean {
    return [...this.accesses].some(
      ([name, { patience }]) => (this.counted.get(name) ?? NOTHING).waited >= patience,
    );
  }

  /** Counts the evaluation just reported. */
  count(): void {
    this.counted = this.states();
  }

  /** Before a run: discards the last evaluation of the previous run if it does not count. */
  begin(): void {
    for (const [name, access] of this.accesses) access.state = this.counted.get(name) ?? NOTHING;
  }

  /** Their states for a checkpoint. */
  saved(): Pick<TrainerState, 'earlyStopping'> {
    if (this.counted.size === 0) return {};
    const states = [...this.counted].map(([name, state]) => [name, withoutUndefined(state)] as const);
    return { earlyStopping: Object.fromEntries(states) };
  }

  /** Restores their states from a checkpoint; those that it does not have start anew. */
  restore({ earlyStopping = {} }: TrainerState): void {
    this.counted = new Map(Object.entries(earlyStopping));
    this.begin();
  }

  private states(): ReadonlyMap<string, StoppingState> {
    return new Map([...this.accesses].map(([name, { state }]) => [name, state]));
  }
}
