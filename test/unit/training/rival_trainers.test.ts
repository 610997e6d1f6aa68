import type { Model } from '../../../lib/models/model';
import type { TrainingArguments } from '../../../lib/training/arguments';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';
import { ARGUMENTS, trainer } from '../support/tiny_trainer';

afterEach(disposeModels);

describe('trainers of one model', () => {
  it('leaves its model to whom it belongs when two rivals were refused', async () => {
    const first = await trainer();
    const batch = { tokens: [[1, 2, 3]] };
    const rivals = [0, 1].map(
      () => new Trainer(first.model, { arguments: ARGUMENTS, train: countingDataset() }),
    );
    const running = first.step(batch);
    for (const rival of rivals) await failureOf('ERR_BUSY', () => rival.step(batch));
    await running;
    expect((await first.step(batch)).step).toBe(2);
  });

  it('leaves a trainer unchanged when another one is refused', async () => {
    const first = await trainer();
    const batch = { tokens: [[1, 2, 3]] };
    const other = new Trainer(first.model, { arguments: ARGUMENTS, train: countingDataset() });
    const running = first.step(batch);
    await failureOf('ERR_BUSY', () => other.step(batch));
    await running;
    expect((await first.step(batch)).step).toBe(2);
  });

  it('starts afresh on a model that another trainer trained', async () => {
    const first = await trainer();
    await first.train();
    const again = new Trainer(first.model, { arguments: ARGUMENTS, train: countingDataset() });
    const rates: number[] = [];
    for await (const event of again) if (event.type === 'step') rates.push(event.learningRate);
    expect(rates[0]).toBeCloseTo(1e-2);
    await failureOf('ERR_BUSY', () => first.step({ tokens: [[1, 2]] }));
  });

  it('gives a second trainer of a model moments of its own', async () => {
    const run = async (model: Model, args: Partial<TrainingArguments>): Promise<void> => {
      const options = { arguments: { ...ARGUMENTS, ...args }, train: countingDataset() };
      await new Trainer(model, options).train();
    };
    const [used, fresh] = [await tinyModel(), await tinyModel()];
    await run(used, { learningRate: 0, seed: 8 });
    for (const model of [used, fresh]) await run(model, { maxSteps: 1 });
    for (const kind of ['moment1', 'moment2', 'parameter'] as const) {
      const of = (model: Model) => model.native.readTensor(kind, 'transformer.ln_f.weight');
      expect(await of(used)).toEqual(await of(fresh));
    }
  });
});
