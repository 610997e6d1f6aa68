import { earlyStopping, type EarlyStopping } from '../../../lib/training/early_stopping';
import { Trainer } from '../../../lib/training/trainer';
import type { TrainerEvent } from '../../../lib/training/events';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

/** What it says to evaluations with these losses, one each ten steps. */
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
  // Nothing is learnt at a rate of 0, so that no evaluation is better than the first.
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
