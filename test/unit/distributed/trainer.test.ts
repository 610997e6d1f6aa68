import { readdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel } from '../../../lib/checkpoint/checkpoint';
import type { RankDevice } from '../../../lib/models/device';
import { Model, type ModelOptions } from '../../../lib/models/model';
import { Sampler } from '../../../lib/sampling/sampler';
import type { TrainingArguments } from '../../../lib/training/arguments';
import { Trainer } from '../../../lib/training/trainer';
import type { TrainerOptions } from '../../../lib/training/trainer_options';
import { expectClose } from '../support/compare';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, TINY, tinyModel } from '../support/tiny_model';
import { toy } from '../support/toy_family';
import { bitsOfRank, rankNames } from './support';

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'ranks-'))));
afterEach(() => {
  disposeModels();
  rmSync(folder, { recursive: true });
});

const onRanks = (ranks: number): ModelOptions => ({
  ...{ threads: 1, seed: 1 },
  ...(ranks === 1 ? { device: 'cpu' } : { devices: rankNames(ranks) as RankDevice[], strategy: 'ddp' }),
});

async function modelOn(ranks: number): Promise<Model> {
  return tinyModel({ embdPdrop: 0.2, attnPdrop: 0.1 }, {
    device: undefined,
    ...onRanks(ranks),
  } as ModelOptions);
}

async function trainerOn(
  ranks: number,
  args: Partial<TrainingArguments> = {},
  options: Partial<TrainerOptions> = {},
): Promise<Trainer> {
  return new Trainer(await modelOn(ranks), {
    arguments: {
      ...{ maxSteps: 12, batchSize: 5, gradientAccumulationSteps: 2, learningRate: 1e-3, adamEpsilon: 1e-4 },
      ...{ loggingSteps: 1, emaDecay: 0.9, ...args },
    },
    train: countingDataset(),
    ...options,
  });
}

async function lossesOf(trainer: Trainer): Promise<number[]> {
  const losses: number[] = [];
  for await (const event of trainer) if (event.type === 'step') losses.push(event.loss);
  return losses;
}

async function expectSameWeights(one: Model, other: Model): Promise<void> {
  for (const { name } of one.native.info.parameters) {
    const [a, b] = [one, other].map(({ native }) => native.readTensor('parameter', name));
    expectClose(name, await a!, await b!, 1e-5);
  }
}

// Sums are in another order; ε of 1e-4 bounds what Adam makes of it.
test.each([2, 3, 4, 7])('%i ranks train like one: the same arguments, losses and weights', async (ranks) => {
  const [one, several] = [await trainerOn(1), await trainerOn(ranks)];
  const expected = await lossesOf(one);
  expect(expected).toHaveLength(12);
  expectClose('losses', await lossesOf(several), expected, 1e-6);
  await expectSameWeights(several.model, one.model);
  const first = await bitsOfRank(several.model.native, 0, true);
  for (let rank = 1; rank < ranks; rank++)
    expect(await bitsOfRank(several.model.native, rank, true)).toEqual(first);
});

test('a step of your own may have fewer rows than ranks, rows of any length, and documents', async () => {
  const batches = [
    { tokens: [[1, 2, 3, 4]] },
    { tokens: [[5, 6, 7], [1, 2, 3, 4, 5, 6], [9, 8]] }, // prettier-ignore
    { tokens: [[5, 6, 7, 8], [1, 2, 3, 4, 5, 6]], documentStarts: [[0, 2], [0, 3]] }, // prettier-ignore
  ];
  const [one, several] = [await trainerOn(1), await trainerOn(3)];
  for (const batch of batches) {
    const [a, b] = [await one.step([batch, batch]), await several.step([batch, batch])];
    expect(b).toEqual({ ...a, loss: b.loss, gradNorm: b.gradNorm });
    expectClose('loss and norm', [b.loss, b.gradNorm], [a.loss, a.gradNorm], 1e-6);
  }
});

test('rows of images and captions of different lengths, and two losses with different targets', async () => {
  const step = {
    examples: {
      image: [7, 2, 12, 3, 1].map((patches) => Float32Array.from({ length: 6 * patches }, (_, i) => i % 5)),
      caption: [[1, 2], [3], [4, 5, 6, 7], [8, 9, 10], [0, 1, 2, 3, 4, 5]], // prettier-ignore
      label: [0, -1, 2, 1, 0],
      wordTarget: [[2, -1], [-1], [5, 6, 7, 8], [9, -1, 1], [1, 2, 3, 4, 5, 6]], // prettier-ignore
    },
  };
  const results = [1, 2, 3].map(async (ranks) => {
    using model = await Model.create(toy({ wordWeight: 0.3 }), { ...onRanks(ranks), seed: 3 });
    const trainer = new Trainer(model, { arguments: { maxSteps: 3, learningRate: 1e-2 } });
    await trainer.step(step);
    return await trainer.step([step, step]);
  });
  const [one, ...several] = await Promise.all(results);
  for (const result of several) {
    expect(result).toMatchObject({ tokens: one!.tokens, applied: true });
    expectClose('loss and norm', [result.loss, result.gradNorm], [one!.loss, one!.gradNorm], 1e-6);
  }
});

test('evaluation, early stopping and the best checkpoint are decided as on one rank', async () => {
  const results = [1, 2].map(async (ranks) => {
    const outputDir = path.join(folder, `run-${ranks}`);
    const trainer = await trainerOn(
      ranks,
      {
        ...{
          outputDir,
          maxSteps: 40,
          learningRate: 0.3,
          lrScheduler: 'constant',
          evalSteps: 2,
          saveSteps: 2,
        },
        ...{ earlyStopping: { patience: 2 }, saveTotalLimit: 1 },
      },
      { evaluation: countingDataset() },
    );
    const { reason, step } = await trainer.train();
    return { reason, step, kept: readdirSync(outputDir).sort() };
  });
  const [one, two] = await Promise.all(results);
  expect(one).toMatchObject({ reason: 'stopped' });
  expect(two).toEqual(one);
});

describe('a checkpoint', () => {
  const args = (name: string): Partial<TrainingArguments> => ({
    ...{ saveSteps: 5, outputDir: path.join(folder, name) },
  });

  async function cut(ranks: number, name: string): Promise<void> {
    for await (const event of await trainerOn(ranks, args(name))) if (event.type === 'save') break;
  }

  test('of two ranks has the files of one rank', async () => {
    await cut(1, 'one');
    await cut(2, 'two');
    const files = ['one', 'two'].map((name) => readdirSync(path.join(folder, name, 'checkpoint-5')).sort());
    expect(files[1]).toEqual(files[0]);
  });

  test('resumes on as many ranks bit for bit', async () => {
    const whole = await trainerOn(2, args('whole'));
    await whole.train();
    await cut(2, 'cut');
    const resumed = await trainerOn(2, args('cut'));
    expect(await resumed.resume()).toMatchObject({ step: 5, differences: [] });
    await resumed.train();
    for (const rank of [0, 1])
      expect(await bitsOfRank(resumed.model.native, rank, true)).toEqual(
        await bitsOfRank(whole.model.native, rank, true),
      );
  });

  test.each([
    [1, 2, "device was 'cpu', but is 'cpu:0, cpu:1' now"],
    [2, 1, "device was 'cpu:0, cpu:1', but is 'cpu' now"],
    [4, 2, "device was 'cpu:0, cpu:1, cpu:2, cpu:3', but is 'cpu:0, cpu:1' now"],
  ])('of %i ranks resumes on %i', async (from, to, difference) => {
    const whole = await trainerOn(1, args('whole'));
    await whole.train();
    await cut(from, 'cut');
    const resumed = await trainerOn(to, args('cut'));
    expect((await resumed.resume()).differences).toEqual([difference]);
    await resumed.train();
    await expectSameWeights(resumed.model, whole.model);
    for (let rank = 1; rank < to; rank++)
      expect(await bitsOfRank(resumed.model.native, rank, true)).toEqual(
        await bitsOfRank(resumed.model.native, 0, true),
      );
  });

  test('is loaded onto ranks', async () => {
    await cut(2, 'run');
    const { model } = await loadModel(path.join(folder, 'run'), {
      devices: ['cpu:0', 'cpu:1', 'cpu:2'],
      threads: 1,
    });
    expect(model.devices).toEqual(['cpu:0', 'cpu:1', 'cpu:2']);
    expect(await bitsOfParameters(model, 2)).toEqual(await bitsOfParameters(model, 0));
    model.dispose();
  });
});

async function bitsOfParameters({ native }: Model, rank: number): Promise<string[]> {
  const bits: string[] = [];
  for (const { name } of native.info.parameters)
    bits.push(
      Buffer.from((await native.readTensor('parameter', name, 'logical', rank)).buffer).toString('hex'),
    );
  return bits;
}

test('an aborted signal ends the run between two steps, on all ranks', async () => {
  const controller = new AbortController();
  const trainer = await trainerOn(2, {}, {
    callbacks: [({ type }) => void (type === 'step' && trainer.globalStep === 3 && controller.abort())],
  }); // prettier-ignore
  await expect(trainer.train({ signal: controller.signal })).rejects.toThrow(/aborted/);
  expect(trainer.globalStep).toBe(3);
  expect(await trainer.train()).toMatchObject({ step: 12 });
  const { native } = trainer.model;
  expect(await bitsOfRank(native, 1, true)).toEqual(await bitsOfRank(native, 0, true));
});

test('the first rank samples and scores', async () => {
  const [one, two] = [await modelOn(1), await modelOn(2)];
  expect(await two.logits([[1, 2, 3]])).toEqual(await one.logits([[1, 2, 3]]));
  const tokensOf = (model: Model): Promise<unknown> =>
    new Sampler(model).generate([1, 2], { maxNewTokens: 5, seed: 3 });
  expect(await tokensOf(two)).toEqual(await tokensOf(one));
});

test.each([
  [{ device: 'cpu', devices: ['cpu:0'] }, 'device', /device and devices are both given/],
  [{ strategy: 'ddp' }, 'strategy', /strategy is for ranks: give devices/],
  [{ devices: ['cpu:0', 'cpu:1'], strategy: 'zero1' }, 'strategy', /strategy must be 'ddp', not 'zero1'/],
  [{ devices: [] }, 'devices', /devices/],
  [
    { devices: ['cpu:0', 'cuda:1'] },
    'devices[1]',
    /devices\[1\] is 'cuda:1': .* several GPUs can't train one model yet/,
  ],
  [{ devices: ['cpu'] }, 'devices[0]', /devices\[0\] is 'cpu': the devices of ranks are 'cpu:0', 'cpu:1'/],
  [{ devices: ['cpu:1', 'cpu:1'] }, 'devices', /devices has a device twice: give each rank its own/],
  [{ devices: rankNames(65) }, 'devices', /devices/],
  [{ devices: ['cpu:0', 'cpu:1'], precision: 'bf16' }, undefined, /the CPU computes in fp32/],
])('refuses %j', async (options, at, message) => {
  const code = at === undefined ? 'ERR_DEVICE' : 'ERR_CONFIG';
  const failure = await failureOf(code, () => Model.create(TINY, options as ModelOptions));
  expect(failure.message).toMatch(message);
  if (at !== undefined) expect(failure.details['path']).toBe(at);
});
