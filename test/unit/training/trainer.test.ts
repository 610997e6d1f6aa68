import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Trainer } from '../../../lib/training/trainer';
import type { TrainingArguments } from '../../../lib/training/arguments';
import type { TrainerEvent } from '../../../lib/training/events';
import { loadModel } from '../../../lib/checkpoint/checkpoint';
import type { TrainingBatch } from '../../../lib/models/inputs';
import type { Dataset } from '../../../lib/data/dataset';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';
import { ARGUMENTS, trainer } from '../support/tiny_trainer';

afterEach(disposeModels);

/** The dataset's batches, but for one step in which no target counts. */
const spoiled =
  (dataset: Dataset, at: number): Dataset['batch'] =>
  async (draw) => {
    const batch = await dataset.batch(draw);
    const rows = (batch as TrainingBatch).tokens as readonly (readonly number[])[];
    return draw.step === at ? { ...batch, targets: rows.map((row) => Array.from(row, () => -100)) } : batch;
  };

const names = (events: readonly TrainerEvent[]): string[] =>
  events.map((event) => `${event.type} ${event.step}`);

describe('Trainer', () => {
  it('learns', async () => {
    const one = await trainer({ maxSteps: 80, batchSize: 4 }, { evaluation: countingDataset() });
    const before = await one.evaluate();
    expect(before.loss).toBeCloseTo(Math.log(32), 0);
    const result = await one.train();
    expect(result).toMatchObject({ reason: 'maxSteps', step: 80, tokens: 80 * 4 * 8 });
    expect(result.evaluation?.loss).toBeLessThan(before.loss / 2);
    expect(result.evaluation?.perplexity).toBeCloseTo(Math.exp(result.evaluation?.loss ?? NaN));
    expect(result.evaluation?.tokens).toBe(2 * 2 * 7);
  });

  it('repeats a run bit by bit, dropout included, and differs with another seed', async () => {
    const losses = async (seed: number): Promise<number[]> => {
      const seen: number[] = [];
      for await (const event of await trainer({ seed })) if (event.type === 'step') seen.push(event.loss);
      return seen;
    };
    const first = await losses(3);
    expect(first).toHaveLength(6);
    expect(await losses(3)).toEqual(first);
    expect(await losses(4)).not.toEqual(first);
  });

  it('requests each batch once, and none after the last step', async () => {
    const train = countingDataset();
    await (await trainer({ maxSteps: 3, gradientAccumulationSteps: 2 }, { train })).train();
    expect(train.requests).toEqual(['0.0', '0.1', '1.0', '1.1', '2.0', '2.1']);
  });

  it('takes the mean over all targets of accumulated batches', async () => {
    const weights = async (args: Partial<TrainingArguments>): Promise<Float32Array> => {
      const model = await tinyModel({ residPdrop: 0 });
      await new Trainer(model, {
        arguments: { ...ARGUMENTS, maxSteps: 1, ...args },
        train: countingDataset(),
      }).train();
      return model.native.readTensor('parameter', 'transformer.ln_f.weight');
    };
    const whole = await weights({ batchSize: 4 });
    const parts = await weights({ batchSize: 1, gradientAccumulationSteps: 4 });
    whole.forEach((value, i) => expect(parts[i]).toBeCloseTo(value, 5));
  });

  it('reports steps, evaluations, checkpoints and the end in order', async () => {
    const outputDir = await mkdtemp(path.join(tmpdir(), 'tesserae-trainer-'));
    try {
      const events: TrainerEvent[] = [];
      const heard: TrainerEvent[] = [];
      const one = await trainer(
        { maxSteps: 5, loggingSteps: 2, evalSteps: 2, saveSteps: 3, outputDir },
        { evaluation: countingDataset(), callbacks: [(event) => void heard.push(event)] },
      );
      for await (const event of one) events.push(event);
      // The first is written while training continues; when it is reported depends on the disk.
      expect(names(events).filter((name) => name !== 'save 3')).toEqual([
        'step 2',
        'evaluate 2',
        'step 4',
        'evaluate 4',
        'step 5',
        'evaluate 5',
        'save 5',
        'end 5',
      ]);
      expect(names(events)).toContain('save 3');
      expect(heard).toEqual(events);
      expect(events[0]).toMatchObject({
        tokens: 32,
        skippedSteps: 0,
        learningRate: expect.any(Number) as number,
      });
      expect(await readdir(outputDir)).toEqual(['checkpoint-3', 'checkpoint-5']);
      const { model, step } = await loadModel(outputDir, { device: 'cpu', threads: 1 });
      expect(step).toBe(5);
      model.dispose();
    } finally {
      await rm(outputDir, { recursive: true });
    }
  });

  it('follows the schedule', async () => {
    const rates: number[] = [];
    const one = await trainer({ maxSteps: 4, lrScheduler: 'linear', warmupSteps: 2, learningRate: 1 });
    for await (const event of one) if (event.type === 'step') rates.push(event.learningRate);
    expect(rates).toEqual([0.5, 1, 1, 0.5]);
  });

  it('stops at break and continues from there as if uninterrupted', async () => {
    const whole = await trainer();
    const wholeLoss = (await whole.train()).loss;
    const one = await trainer();
    for await (const event of one) if (event.step === 2) break;
    expect(one.globalStep).toBe(2);
    expect((await one.train()).loss).toBe(wholeLoss);
    expect(one.globalStep).toBe(6);
    expect(await one.train()).toMatchObject({ reason: 'maxSteps', step: 6, loss: wholeLoss });
  });

  it('ends as after the last step when a callback says stop', async () => {
    const events: TrainerEvent[] = [];
    const one = await trainer(
      {},
      {
        evaluation: countingDataset(),
        callbacks: [async (event) => ({ stop: event.step === 3 }), (event) => void events.push(event)],
      },
    );
    expect(await one.train()).toMatchObject({ reason: 'stopped', step: 3 });
    expect(names(events)).toEqual(['step 1', 'step 2', 'step 3', 'evaluate 3', 'end 3']);
  });

  it('ends after the current step when it is stopped from outside, between two reports too', async () => {
    const events: TrainerEvent[] = [];
    const train = countingDataset();
    const one = await trainer(
      { loggingSteps: 5 },
      {
        train: {
          ...train,
          batch: (request) => {
            if (request.step === 3) one.stop();
            return train.batch(request);
          },
        },
        callbacks: [(event) => void events.push(event)],
      },
    );
    one.stop();
    expect(await one.train()).toMatchObject({ reason: 'stopped', step: 3 });
    expect(names(events)).toEqual(['step 3', 'end 3']);
  });

  it('rejects with the reason of an abort, between steps', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const one = await trainer({}, { callbacks: [({ step }) => void (step === 2 && abort.abort(reason))] });
    await expect(one.train({ signal: abort.signal })).rejects.toBe(reason);
    expect(one.globalStep).toBe(2);
    await expect(one.train()).resolves.toMatchObject({ step: 6 });
  });

  it('rejects with what a callback or a dataset throws', async () => {
    const wrong = new Error('no');
    const refuse = async (): Promise<never> => Promise.reject(wrong);
    await expect((await trainer({}, { callbacks: [refuse] })).train()).rejects.toBe(wrong);
    const train = { ...countingDataset(), batch: refuse };
    await expect((await trainer({}, { train })).train()).rejects.toBe(wrong);
  });

  it('refuses a second call while it is at work', async () => {
    const one = await trainer({}, { evaluation: countingDataset() });
    const run = one.train();
    await failureOf('ERR_BUSY', () => one.train());
    await failureOf('ERR_BUSY', () => one.step({ tokens: [[1, 2]] }));
    await failureOf('ERR_BUSY', () => one.evaluate());
    await run;
  });

  it('refuses a second run between steps, and an evaluation while a batch is awaited', async () => {
    const train = countingDataset();
    const refused: string[] = [];
    const one = await trainer(
      { maxSteps: 1 },
      {
        evaluation: countingDataset(),
        train: {
          ...train,
          batch: async (request) => {
            refused.push((await failureOf('ERR_BUSY', () => one.evaluate())).message);
            return train.batch(request);
          },
        },
      },
    );
    for await (const event of one)
      if (event.type === 'step') {
        refused.push((await failureOf('ERR_BUSY', () => one.train())).message);
        refused.push((await failureOf('ERR_BUSY', () => one.step({ tokens: [[1, 2]] }))).message);
      }
    expect(refused).toEqual([
      expect.stringMatching(/^evaluate\(\) .* busy with train/),
      expect.stringMatching(/^train\(\) .* busy with a run/),
      expect.stringMatching(/^step\(\) .* busy with a run/),
    ]);
  });

  it('allows evaluations between the steps of a loop', async () => {
    const one = await trainer({ maxSteps: 2 }, { evaluation: countingDataset() });
    const losses: number[] = [];
    for await (const event of one) if (event.type === 'step') losses.push((await one.evaluate()).loss);
    expect(losses).toHaveLength(2);
  });

  it('reports each tenth step and the last, with the mean loss since, and the same losses as step by step', async () => {
    const losses = async (loggingSteps: number): Promise<[number, number][]> => {
      const seen: [number, number][] = [];
      for await (const event of await trainer({ maxSteps: 12, loggingSteps }))
        if (event.type === 'step') seen.push([event.step, event.loss]);
      return seen;
    };
    const single = (await losses(1)).map(([, loss]) => loss);
    const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const [first, second, ...rest] = await losses(10);
    expect(rest).toEqual([]);
    expect(first?.[0]).toBe(10);
    expect(second?.[0]).toBe(12);
    expect(first?.[1]).toBeCloseTo(mean(single.slice(0, 10)), 6);
    expect(second?.[1]).toBeCloseTo(mean(single.slice(10)), 6);
  });

  it('shows the model as it was at the step of an event, though steps are enqueued ahead', async () => {
    const one = await trainer({ maxSteps: 6, loggingSteps: 4 });
    for await (const event of one) {
      expect(one.globalStep).toBe(event.step);
      expect(await one.model.native.counters()).toEqual({ attempted: event.step, applied: event.step });
    }
  });

  it('stops between two events without losing a step', async () => {
    const one = await trainer({ maxSteps: 50, loggingSteps: 50 });
    const running = one.train();
    await new Promise((resolve) => setImmediate(resolve));
    one.stop();
    const { reason, step } = await running;
    expect(reason).toBe('stopped');
    expect(step).toBeLessThan(50);
    expect(one.globalStep).toBe(step);
    expect(await one.model.native.counters()).toEqual({ attempted: step, applied: step });
    expect((await one.train()).step).toBe(50);
  });

  it('finishes the step in flight when the previous one failed', async () => {
    const train = countingDataset();
    const one = await trainer(
      { maxSteps: 5, loggingSteps: 5 },
      { train: { ...train, batch: spoiled(train, 1) } },
    );
    const { details } = await failureOf('ERR_DATA', () => one.train());
    expect(details['step']).toBe(2);
    expect(await one.model.native.counters()).toEqual({ attempted: 3, applied: 2 });
    expect(one.globalStep).toBe(3);
    await expect(one.train()).resolves.toMatchObject({ reason: 'maxSteps', step: 5 });
    // No batch twice, none left out.
    expect(train.requests.slice(0, 3)).toEqual(['0.0', '1.0', '2.0']);
    expect(new Set(train.requests)).toEqual(new Set(['0.0', '1.0', '2.0', '3.0', '4.0']));
    expect((await one.model.native.counters()).attempted).toBe(5);
  });

  it('scales the loss only for models in fp16', async () => {
    const { details } = await failureOf('ERR_CONFIG', () => trainer({ lossScaling: {} }));
    expect(details['path']).toBe('lossScaling');
  });

  it('names the step of a loss that is not finite', async () => {
    const one = await trainer({ maxSteps: 3 });
    const { native } = one.model;
    const weight = 'transformer.ln_f.weight';
    const good = await native.readTensor('parameter', weight);
    for await (const event of one) if (event.step === 1) break;
    await native.writeTensor('parameter', weight, new Float32Array(good.length).fill(NaN));
    const { message, details } = await failureOf('ERR_NON_FINITE', () => one.train());
    expect(message).toMatch(/at step 2/);
    expect(details['step']).toBe(2);
    expect(await native.counters()).toEqual({ attempted: 2, applied: 1 });
    expect(one.globalStep).toBe(2);
  });

  it('refuses data that does not fit the model', async () => {
    const { details } = await failureOf('ERR_CONFIG', () => trainer({}, { train: countingDataset(17) }));
    expect(details['path']).toBe('blockSize');
    const { ByteTokenizer } = await import('../../../lib/data/byte_tokenizer.js');
    const train = { ...countingDataset(), tokenizer: new ByteTokenizer() };
    const { message } = await failureOf('ERR_CONFIG', () => trainer({}, { train }));
    expect(message).toMatch(/256 tokens, more than the model's vocabSize 32/);
    const encoder = await tinyModel({ isEncoder: true });
    const text = { ...countingDataset(), predictsNext: true };
    const seen = await failureOf(
      'ERR_CONFIG',
      () => new Trainer(encoder, { arguments: ARGUMENTS, train: text }),
    );
    expect(seen.details['path']).toBe('isCausal');
  });

  it('says what is missing', async () => {
    const one = await trainer({}, { train: undefined });
    expect((await failureOf('ERR_CONFIG', () => one.train())).details['path']).toBe('train');
    expect((await failureOf('ERR_CONFIG', () => one.evaluate())).details['path']).toBe('evaluation');
    expect((await failureOf('ERR_CONFIG', () => one.save())).details['path']).toBe('outputDir');
  });

  it('refuses a model that was disposed', async () => {
    const one = await trainer();
    one.model.dispose();
    await failureOf('ERR_DISPOSED', () => one.train());
  });
});
