import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel } from '../../../lib/checkpoint/checkpoint';
import { listCheckpoints } from '../../../lib/checkpoint/run_folder';
import { Model } from '../../../lib/models/model';
import type { TrainingArguments } from '../../../lib/training/arguments';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';
import { bitsOf } from '../support/training_bits';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-longer-'));
});
afterEach(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

async function trainer(maxSteps: number, args: Partial<TrainingArguments>, into = 'run'): Promise<Trainer> {
  return new Trainer(await tinyModel({ embdPdrop: 0.1 }), {
    arguments: { batchSize: 2, learningRate: 1e-2, ...args, maxSteps, outputDir: path.join(folder, into) },
    train: countingDataset(),
    evaluation: countingDataset(),
  });
}

/** Four steps, then eight in the same folder. Returns the result of resuming. */
async function fourThenEight(
  args: Partial<TrainingArguments>,
): Promise<{ differences: readonly string[]; one: Trainer }> {
  await (await trainer(4, args)).train();
  const one = await trainer(8, args);
  const { step, differences } = await one.resume();
  expect(step).toBe(4);
  expect(await one.train()).toMatchObject({ reason: 'maxSteps', step: 8 });
  return { differences, one };
}

describe('a finished run with a larger maxSteps', () => {
  it.each<[string, Partial<TrainingArguments>]>([
    ['constant', { lrScheduler: 'constant', warmupSteps: 2, loggingSteps: 3 }],
    ['inverseSqrt', { lrScheduler: 'inverseSqrt', warmupSteps: 2, emaDecay: 0.9 }],
    ['a function of your own', { lrScheduler: (step) => 1e-2 / (step + 1) }],
  ])('gives bit by bit what one run would have: %s', async (_, args) => {
    const { differences, one } = await fourThenEight(args);
    expect(differences).toEqual([]);
    const whole = await trainer(8, args, 'whole');
    const { loss } = await whole.train();
    expect(await bitsOf(one)).toEqual(await bitsOf(whole));
    expect((await one.train()).loss).toBe(loss);
  });

  it('continues with the new schedule if it depends on maxSteps, and reports the change of the rate', async () => {
    const { differences, one } = await fourThenEight({ lrScheduler: 'linear' });
    expect(differences).toEqual([
      'maxSteps was 4, but is 8 now: the steps so far used the learning rates for 4 steps, and the remaining steps use ' +
        'those for 8; the rate was 0.0025 at the end, and becomes 0.005',
    ]);
    expect(await one.model.native.counters()).toEqual({ attempted: 8, applied: 8 });
  });

  it('also reports momentum that depends on it', async () => {
    const lrSchedulerKwargs = { cycleMomentum: true };
    const { differences } = await fourThenEight({ lrScheduler: 'oneCycle', lrSchedulerKwargs });
    expect(differences).toEqual([expect.stringMatching(/^maxSteps was 4, but is 8 now/)]);
  });

  it('equals one run with a longer stable phase if it resumes before the decay', async () => {
    const args = {
      lrScheduler: 'warmupStableDecay',
      lrSchedulerKwargs: { numDecaySteps: 2 },
      saveSteps: 2,
    } as const;
    await (await trainer(4, args)).train();
    const one = await trainer(8, args);
    expect((await one.resume(path.join(folder, 'run', 'checkpoint-2'))).differences).toEqual([]);
    await one.train();
    const whole = await trainer(8, args, 'whole');
    await whole.train();
    expect(await bitsOf(one)).toEqual(await bitsOf(whole));
  });

  it('is refused if your own function gives other rates for past steps', async () => {
    const until = (end: number) => ({ lrScheduler: (step: number) => 1e-2 * (1 - step / end) });
    await (await trainer(4, until(4))).train();
    const { message } = await failureOf('ERR_CHECKPOINT', async () => (await trainer(8, until(8))).resume());
    expect(message).toMatch(/training\.lrScheduler was 'a function with rates/);
    const { message: shorter } = await failureOf('ERR_CHECKPOINT', async () =>
      (await trainer(2, until(2))).resume(),
    );
    expect(shorter).toMatch(/training\.maxSteps is 2 now, but 4 steps were done/);
  });
});

describe('a run of an earlier release, whose manifests have no numbers', () => {
  it('is found, resumed, made longer and loaded', async () => {
    const run = path.join(folder, 'run');
    await cp(path.join(__dirname, '../../fixtures/run_v1'), run, { recursive: true });
    expect((await listCheckpoints(run)).map(({ step, damaged }) => [step, damaged])).toEqual([
      [4, undefined],
      [2, undefined],
    ]);
    const { model: loaded, step } = await loadModel(run, { device: 'cpu', threads: 1 });
    expect(step).toBe(4);
    const config = loaded.config;
    loaded.dispose();
    using model = await Model.create(config, { device: 'cpu', threads: 1, seed: 1 });
    const args = {
      batchSize: 2,
      learningRate: 1e-2,
      lrScheduler: 'constant',
      evalSteps: 2,
      saveSteps: 2,
    } as const;
    const one = new Trainer(model, {
      arguments: { ...args, maxSteps: 6, outputDir: run, earlyStopping: { patience: 9 } },
      train: countingDataset(),
      evaluation: countingDataset(),
    });
    expect(await one.resume()).toMatchObject({ step: 4, damaged: [] });
    expect(await one.model.native.counters()).toEqual({ attempted: 4, applied: 4 });
    await one.train();
    expect((await listCheckpoints(run)).map((found) => found.step)).toEqual([6, 4, 2]);
  });
});
