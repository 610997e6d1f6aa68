import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { earlyStopping, type EarlyStopping } from '../../../lib/training/early_stopping';
import { Trainer } from '../../../lib/training/trainer';
import type { TrainerEvent } from '../../../lib/training/events';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

/** Its answers to evaluations with these losses, one every ten steps. */
const answers = (stopping: EarlyStopping, losses: readonly number[]): boolean[] =>
  losses.map((loss, i) => {
    const event = {
      type: 'evaluate',
      step: 10 * (i + 1),
      loss,
      perplexity: Math.exp(loss),
      tokens: 1,
    } as const;
    return stopping(event)?.stop ?? false;
  });

describe('earlyStopping', () => {
  it('stops at the first evaluation that is not better, unless it is patient', () => {
    const stopping = earlyStopping();
    expect(stopping.best).toBeUndefined();
    expect(answers(stopping, [3, 2, 2])).toEqual([false, false, true]);
    expect(stopping.best).toEqual({ step: 20, loss: 2 });
  });

  it('counts evaluations in a row', () => {
    const stopping = earlyStopping({ patience: 2 });
    expect(answers(stopping, [3, 4, 2, 2.5, 2.1, 1])).toEqual([false, false, false, false, true, false]);
    expect(stopping.best).toEqual({ step: 60, loss: 1 });
  });

  it('asks for more than minDelta', () => {
    const stopping = earlyStopping({ patience: 3, minDelta: 0.5 });
    expect(answers(stopping, [3, 2.75, 2.5])).toEqual([false, false, false]);
    expect(stopping.best).toEqual({ step: 10, loss: 3 });
    expect(answers(stopping, [2.25])).toEqual([false]);
    expect(stopping.best?.loss).toBe(2.25);
  });

  it('takes no loss that is not finite for better', () => {
    const stopping = earlyStopping({ patience: 2 });
    expect(answers(stopping, [NaN, -Infinity])).toEqual([false, true]);
    expect(stopping.best).toBeUndefined();
  });

  it('looks at nothing but evaluations', () => {
    const save: TrainerEvent = { type: 'save', step: 1, path: 'x' };
    expect(earlyStopping()(save)).toBeUndefined();
  });

  it.each([
    [{ patience: 0 }, 'patience', /an integer from 1/],
    [{ patience: 1.5 }, 'patience', /an integer/],
    [{ minDelta: -1 }, 'minDelta', /from 0/],
    [{ minDelta: NaN }, 'minDelta', /a number/],
    [{ threshold: 1 }, 'threshold', /did you mean minDelta/],
  ])('refuses %j', async (options, where, message) => {
    const failure = await failureOf('ERR_CONFIG', () => earlyStopping(options as never));
    expect(failure.details['path']).toBe(where);
    expect(failure.message).toMatch(message);
  });
});

describe('a run that stops early', () => {
  // At a rate of 0 nothing is learned, so no evaluation is better than the first.
  const args = { maxSteps: 20, batchSize: 2, learningRate: 0, evalSteps: 2 } as const;
  const evaluated = async (options: object, more: object = {}): Promise<Trainer> =>
    new Trainer(await tinyModel(), {
      arguments: { ...args, ...options },
      train: countingDataset(),
      evaluation: countingDataset(),
      ...more,
    });

  it('ends as after its last step, by argument and by callback', async () => {
    const result = { reason: 'stopped', step: 6 };
    expect(await (await evaluated({ earlyStopping: { patience: 2 } })).train()).toMatchObject(result);
    const stopping = earlyStopping({ patience: 2 });
    expect(await (await evaluated({}, { callbacks: [stopping] })).train()).toMatchObject(result);
    expect(stopping.best?.step).toBe(2);
  });

  it('needs something to evaluate on', async () => {
    const { details } = await failureOf('ERR_CONFIG', () =>
      evaluated({ earlyStopping: {} }, { evaluation: undefined }),
    );
    expect(details['path']).toBe('earlyStopping');
  });
});

describe('a run that stops early and is resumed', () => {
  // Nothing is learnt: the first evaluation, at step 2, is the best, and the fourth after it ends the run.
  const args = { maxSteps: 20, batchSize: 2, learningRate: 0, evalSteps: 2, loggingSteps: 1 } as const;
  const LAST = 10;
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tesserae-stopping-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const byArgument = async (patience = 4, more: object = {}): Promise<Trainer> =>
    new Trainer(await tinyModel(), {
      arguments: { ...args, outputDir: folder, earlyStopping: { patience }, ...more },
      train: countingDataset(),
      evaluation: countingDataset(),
    });
  const byCallback = async (stopping: EarlyStopping): Promise<Trainer> =>
    new Trainer(await tinyModel(), {
      arguments: { ...args, outputDir: folder },
      ...{ train: countingDataset(), evaluation: countingDataset() },
      callbacks: [() => undefined, stopping],
    });
  /** Leaves a run at the report of a step, before the evaluation that may be due after it, and saves. */
  const leaveAt = async (one: Trainer, step: number): Promise<void> => {
    for await (const event of one) if (event.type === 'step' && event.step === step) break;
    await one.save();
  };

  it.each([3, 4, 7])('ends where it would have without a break after step %i', async (step) => {
    await leaveAt(await byArgument(), step);
    const again = await byArgument();
    await again.resume(path.join(folder, `checkpoint-${step}`));
    expect(await again.train()).toMatchObject({ reason: 'stopped', step: LAST });
  });

  it.each([5, 6])(
    'ends there when it was stopped after step %i, which is evaluated for that',
    async (step) => {
      const one = await byArgument();
      for await (const event of one) if (event.type === 'step' && event.step === step) one.stop();
      expect(one.globalStep).toBe(step);
      expect(await one.train()).toMatchObject({ reason: 'stopped', step: LAST });
      const again = await byArgument();
      await again.resume(path.join(folder, `checkpoint-${step}`));
      expect(await again.train()).toMatchObject({ reason: 'stopped', step: LAST });
    },
  );

  it('does not train on, in the same process or when it is resumed', async () => {
    const one = await byArgument();
    await one.train();
    expect(await one.train()).toMatchObject({ reason: 'stopped', step: LAST });
    const again = await byArgument();
    await again.resume();
    expect(await again.train()).toMatchObject({ reason: 'stopped', step: LAST });
    const longer = await byArgument(4, { maxSteps: 30, minLearningRate: 0 });
    await longer.resume();
    expect(await longer.train()).toMatchObject({ reason: 'stopped', step: LAST });
  });

  it('trains on with more patience, or without early stopping', async () => {
    await (await byArgument()).train();
    const patient = await byArgument(6);
    await patient.resume();
    expect(await patient.train()).toMatchObject({ reason: 'stopped', step: LAST + 4 });
    const without = await byArgument(4, { earlyStopping: undefined });
    await without.resume();
    expect(await without.train()).toMatchObject({ reason: 'maxSteps', step: 20 });
  });

  it('by a callback is the same, and the callback knows the best', async () => {
    await leaveAt(await byCallback(earlyStopping({ patience: 4 })), 7);
    const stopping = earlyStopping({ patience: 4 });
    const again = await byCallback(stopping);
    await again.resume();
    expect(stopping.best?.step).toBe(2);
    expect(await again.train()).toMatchObject({ reason: 'stopped', step: LAST });
    expect(await again.train()).toMatchObject({ reason: 'stopped', step: LAST });
  });

  it('starts early stopping from scratch if the checkpoint has none', async () => {
    await leaveAt(await byArgument(4, { earlyStopping: undefined }), 7);
    const again = await byArgument(1);
    await again.resume(path.join(folder, 'checkpoint-7'));
    expect(await again.train()).toMatchObject({ reason: 'stopped', step: 10 });
  });
});
