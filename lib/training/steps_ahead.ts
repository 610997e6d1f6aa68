/** Number of steps that may be in flight: the limit of native code (TrainingRun::kStepsAhead). */
const STEPS_AHEAD = 2;

/** A series of steps that ends at the next step with a report. */
export interface Stretch<Step> {
  /** Draws the batches of a step and enqueues it. */
  start(): Promise<{ readonly step: Promise<Step> }>;
  /** Called with each step in order, once it has ended. */
  finish(step: Step): void;
  /** Whether the step started last ends the series. */
  isLast(): boolean;
}

/**
 * Runs a series of steps. Each is enqueued while the previous one runs, so that a GPU need not wait. When this resolves, the
 * last step has ended, so that a report shows the model of its step.
 *
 * @returns the last step.
 * @throws the error of a step or of its start, once no step is in flight.
 */
export async function stepsAhead<Step>(stretch: Stretch<Step>): Promise<Step> {
  const underWay: Promise<Step>[] = [];
  const finishFirst = async (): Promise<Step> => {
    const step = (await underWay[0]) as Step;
    void underWay.shift();
    stretch.finish(step);
    return step;
  };
  try {
    do {
      const { step } = await stretch.start();
      void step.catch(() => undefined); // the await in order reports it
      underWay.push(step);
      if (underWay.length === STEPS_AHEAD && !stretch.isLast()) await finishFirst();
    } while (!stretch.isLast());
    while (underWay.length > 1) await finishFirst();
    return await finishFirst();
  } finally {
    await Promise.allSettled(underWay);
  }
}
