import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Trainer } from '../../../lib/training/trainer';
import type { TrainerOptions } from '../../../lib/training/trainer_options';
import type { TrainingArguments } from '../../../lib/training/arguments';
import type { TrainerEvent } from '../../../lib/training/events';
import { loadModel } from '../../../lib/checkpoint/checkpoint';
import type { Dataset } from '../../../lib/data/dataset';
import type { TrainingBatch } from '../../../lib/models/inputs';
import type { Model } from '../../../lib/models/model';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

const ARGUMENTS: TrainingArguments = { maxSteps: 6, batchSize: 2, learningRate: 1e-2, loggingSteps: 1 };

async function trainer(
  args: Partial<TrainingArguments> = {},
  options: Partial<TrainerOptions> = {},
): Promise<Trainer> {
  const model = await tinyModel();
  return new Trainer(model, { arguments: { ...ARGUMENTS, ...args }, train: countingDataset(), ...options });
}

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

  it('asks for each batch once and never beyond the run', async () => {
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
      // The first is written while training goes on: when it is told, depends on the disk.
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

  it('stops at break and goes on from there as if nothing had been', async () => {
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

  it('lets two calls of step() be under way, and refuses a third', async () => {
    const one = await trainer();
    const batch = { tokens: [[1, 2, 3]] };
    await one.step(batch);
    const [second, third] = [one.step(batch), one.step(batch)];
    await failureOf('ERR_BUSY', () => one.step(batch));
    await failureOf('ERR_BUSY', () => one.train());
    expect([(await second).step, (await third).step]).toEqual([2, 3]);
    expect(one.globalStep).toBe(3);
    expect((await one.step(batch)).step).toBe(4);
  });

  it('finishes the step that was under way when the one before it failed', async () => {
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

  it('has loss scaling for models in fp16 alone', async () => {
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

  it('applies no step whose loss is infinite, though its gradient is finite', async () => {
    const model = await tinyModel({ tieWordEmbeddings: false });
    const one = new Trainer(model, { arguments: { ...ARGUMENTS, maxSteps: 3 } });
    // The logit of token 0 is −∞ for most contexts: its loss is infinite, the gradient p − 1 is not.
    const head = await model.native.readTensor('parameter', 'lm_head.weight');
    head.fill(-3e38, 0, head.length / 32);
    await model.native.writeTensor('parameter', 'lm_head.weight', head);
    const tokens = [[1, 2, 3, 4]];
    await failureOf('ERR_NON_FINITE', () => one.step({ tokens, targets: [[0, 0, 0, 0]] }));
    expect(await model.native.counters()).toEqual({ attempted: 1, applied: 0 });
    expect(await model.native.readTensor('parameter', 'lm_head.weight')).toEqual(head);
  });

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

  it('draws the same random numbers for micro-batches whatever capacity they are padded to', async () => {
    const row = (start: number): number[] => Array.from({ length: 16 }, (_, i) => (start + i) % 32);
    const losses: number[] = [];
    for (const room of [4, 5, 6]) {
      const model = await tinyModel();
      const one = new Trainer(model, { arguments: { ...ARGUMENTS, learningRate: 0 } });
      // From here on there is a capacity of so many rows, which smaller batches are padded to.
      await one.step({ tokens: Array.from({ length: room }, (_, r) => row(r)) });
      const halves = [1, 5].map((from) => ({ tokens: [0, 1, 2, 3].map((r) => row(from + r)) }));
      losses.push((await one.step(halves)).loss);
    }
    // The same sums in blocks of other rows.
    expect(losses[1]).toBeCloseTo(losses[0]!, 6);
    expect(losses[2]).toBeCloseTo(losses[0]!, 6);
  });

  it('leaves a trainer whole when another one was refused', async () => {
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

describe('Trainer.step', () => {
  it('takes rows of unequal length, padded without effect', async () => {
    const run = async (lengths: 'given' | 'cut'): Promise<number> => {
      const one = new Trainer(await tinyModel({ residPdrop: 0 }), { arguments: ARGUMENTS });
      const rows = [
        [1, 2, 3, 4, 5, 6],
        [7, 8, 9],
      ];
      const metrics =
        lengths === 'cut'
          ? await one.step({ tokens: rows })
          : await one.step({ tokens: [rows[0] ?? [], [7, 8, 9, 31, 30, 29]], lengths: [6, 3] });
      expect(metrics).toMatchObject({ step: 1, tokens: 7, applied: true });
      return metrics.loss;
    };
    expect(await run('given')).toBe(await run('cut'));
  });

  it('owns its batch when it returns: the caller may fill its arrays again at once', async () => {
    const batches = [3, 11].map((start) => Int32Array.from({ length: 32 }, (_, i) => (start + i) % 32));
    const losses = async (reuse: boolean): Promise<number[]> => {
      const one = await trainer();
      const arrays = (): { tokens: Int32Array; targets: Int32Array } => ({
        tokens: new Int32Array(32),
        targets: new Int32Array(32),
      });
      const buffer = arrays();
      const seen: number[] = [];
      for (let pair = 0; pair < 2; pair++) {
        const underWay = batches.map((tokens) => {
          const { tokens: into, targets } = reuse ? buffer : arrays();
          into.set(tokens);
          targets.set(tokens.map((token) => (token + 1) % 32));
          return one.step({ tokens: into, targets, rows: 2 });
        });
        seen.push(...(await Promise.all(underWay)).map(({ loss }) => loss));
      }
      return seen;
    };
    expect(await losses(true)).toEqual(await losses(false));
  });

  it('accumulates batches of different lengths', async () => {
    const one = new Trainer(await tinyModel(), { arguments: ARGUMENTS });
    const metrics = await one.step([
      { tokens: [[1, 2, 3]] },
      {
        tokens: [
          [4, 5],
          [6, 7],
        ],
      },
    ]);
    expect(metrics).toMatchObject({ step: 1, tokens: 4 });
  });

  it('trains an encoder on targets that are given', async () => {
    const model = await tinyModel({ isEncoder: true, nTypes: 2, nStypes: 2 });
    const one = new Trainer(model, { arguments: { ...ARGUMENTS, maxSteps: 60 } });
    const batch = {
      tokens: [
        [0, 2, 3],
        [0, 5],
      ],
      targets: [
        [1, -100, -100],
        [4, -100],
      ],
      types: [
        [0, 1, 1],
        [0, 0],
      ],
      subtypes: [
        [1, 1, 0],
        [0, 1],
      ],
    };
    const first = await one.step(batch);
    expect(first.tokens).toBe(2);
    let last = first;
    for (let i = 0; i < 50; i++) last = await one.step(batch);
    expect(last.loss).toBeLessThan(first.loss / 2);
  });

  it('refuses what the model can not read, and goes on working', async () => {
    const one = new Trainer(await tinyModel(), { arguments: ARGUMENTS });
    await failureOf('ERR_DATA', () => one.step([]));
    await failureOf('ERR_DATA', () => one.step(undefined as never));
    await failureOf('ERR_DATA', () => one.step({ tokens: [] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1, 32]] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1, -1]] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1]] }));
    await failureOf('ERR_DATA', () => one.step({ tokens: [[1, 2]], types: [[0, 0]] }));
    expect(one.globalStep).toBe(1); // a single token has no target: that shows when the step is tried
    expect((await one.step({ tokens: [[1, 2]] })).step).toBe(2);
  });
});
