import type { TrainerState } from '../checkpoint/trainer_state';
import { withoutUndefined } from '../models/validation';
import { accessTo, type StoppingAccess, type StoppingState } from './early_stopping';
import type { TrainerCallback } from './events';

const NOTHING: StoppingState = { waited: 0 };

/**
 * The early stopping of a trainer: that of its arguments, and those among its callbacks. What counts are the evaluations
 * that evalSteps asks for. The one at the end of a run counts only if it is one of those: when the run goes on, it must not
 * stop sooner than one that never ended.
 */
export class Stoppings {
  private readonly accesses: ReadonlyMap<string, StoppingAccess>;
  /** As of the last evaluation that counts. */
  private counted: ReadonlyMap<string, StoppingState>;

  /** @param argument - that of the arguments, where they have one. */
  constructor(callbacks: readonly TrainerCallback[], argument: TrainerCallback | undefined) {
    const named = [
      ...callbacks.map((callback, i) => [`callback ${i}`, accessTo(callback)] as const),
      ['argument', argument && accessTo(argument)] as const,
    ];
    this.accesses = new Map(named.flatMap(([name, access]) => (access ? [[name, access] as const] : [])));
    this.counted = this.states();
  }

  /** Whether one of them has waited for as long as it does: the run is at its end. */
  get reached(): boolean {
    return [...this.accesses].some(
      ([name, { patience }]) => (this.counted.get(name) ?? NOTHING).waited >= patience,
    );
  }

  /** The evaluation that was just told counts. */
  count(): void {
    this.counted = this.states();
  }

  /** Before a run: the last evaluation of the one before may not count. */
  begin(): void {
    for (const [name, access] of this.accesses) access.state = this.counted.get(name) ?? NOTHING;
  }

  /** Their part of a checkpoint. */
  saved(): Pick<TrainerState, 'earlyStopping'> {
    if (this.counted.size === 0) return {};
    const states = [...this.counted].map(([name, state]) => [name, withoutUndefined(state)] as const);
    return { earlyStopping: Object.fromEntries(states) };
  }

  /** They become what they were when a checkpoint was written; those that it does not have begin anew. */
  restore({ earlyStopping = {} }: TrainerState): void {
    this.counted = new Map(Object.entries(earlyStopping));
    this.begin();
  }

  private states(): ReadonlyMap<string, StoppingState> {
    return new Map([...this.accesses].map(([name, { state }]) => [name, state]));
  }
}
