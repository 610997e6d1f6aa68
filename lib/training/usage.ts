import { TesseraeError } from '../errors';

/** A step in flight, until it is disposed. */
export interface StepUnderWay extends Disposable {
  /** Its place among the steps in flight, from 1. */
  readonly place: number;
}

/**
 * Decides which calls of a trainer may run together: one at a time, except that two steps may be in flight. During a run,
 * other calls may come between its steps, except a step, a run and a resume.
 */
export class Usage {
  private isRunning = false;
  /** The call that is using the model now. */
  private working: string | undefined;
  private steps = 0;

  /** @throws TesseraeError `ERR_BUSY` within a run. */
  beginRun(): Disposable {
    this.refuseWithinRun('train');
    this.isRunning = true;
    return { [Symbol.dispose]: () => void (this.isRunning = false) };
  }

  /** @throws TesseraeError `ERR_BUSY` during a run, and during any call but a step. */
  beginStep(): StepUnderWay {
    this.refuseWithinRun('step');
    if (this.steps === 0) this.begin('step');
    this.steps++;
    return {
      place: this.steps,
      [Symbol.dispose]: () => {
        if (--this.steps === 0) this.working = undefined;
      },
    };
  }

  /**
   * Runs a call that excludes all others.
   *
   * @throws TesseraeError `ERR_BUSY` during another call.
   */
  async exclusive<T>(call: string, work: () => Promise<T>): Promise<T> {
    this.begin(call);
    try {
      return await work();
    } finally {
      this.working = undefined;
    }
  }

  /** @throws TesseraeError `ERR_BUSY` within a run. */
  refuseWithinRun(call: string): void {
    if (this.isRunning) throw busy(call, 'a run');
  }

  private begin(call: string): void {
    if (this.working !== undefined) throw busy(call, this.working);
    this.working = call;
  }
}

const busy = (call: string, running: string): TesseraeError =>
  new TesseraeError(
    'ERR_BUSY',
    `${call}() was called while the trainer is busy with ${running}: await that first`,
  );
