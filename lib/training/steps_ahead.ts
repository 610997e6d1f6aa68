/** Steps that may be under way at a time: as many as native code takes (TrainingRun::kStepsAhead). */
const STEPS_AHEAD = 2;

/** Steps up to the next that something is reported after. */
export interface Stretch<Step> {
  /** Draws what a step needs, and enqueues it. */
  start(): Promise<{ readonly step: Promise<Step> }>;
  /** Called with each step in turn, once it has ended. */
  finish(step: Step): void;
  /** Whether the step that was started last ends the stretch. */
  isLast(): boolean;
}

/**
 * Makes the steps of a stretch. One is enqueued while the one before is under way, so that a GPU need not wait; the last
 * one has ended when this resolves, so that whoever looks at a report finds the model as it was at that step.
 *
 * @returns the last step.
 * @throws what a step or its start throws, once no step is under way.
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
      void step.catch(() => undefined); // reported when its turn comes
      underWay.push(step);
      if (underWay.length === STEPS_AHEAD && !stretch.isLast()) await finishFirst();
    } while (!stretch.isLast());
    while (underWay.length > 1) await finishFirst();
    return await finishFirst();
  } finally {
    await Promise.allSettled(underWay);
  }
}
