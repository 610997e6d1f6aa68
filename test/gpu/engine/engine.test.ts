import { gpt2 } from '../../../lib/models/gpt2';
import { fromHuggingFace } from '../../../lib/models/gpt2_config_file';
import { Model } from '../../../lib/models/model';
import { deviceStatistics, NativeModel, type Batch } from '../../../lib/native';
import { failureOf } from '../../unit/support/errors';
import { batchOfStep, curve, startCurve } from '../../unit/support/curve';
import { SEED, withModel } from '../../unit/support/native';
import { TINY } from '../../unit/support/tiny_model';
import { gpu, secondGpu } from '../support/gpu';

const graph = gpt2({ ...fromHuggingFace(curve.config).config, residPdrop: 0.1, attnPdrop: 0.1 });
const time = curve.batches.shape[2] - 1;
const weight = 'transformer.wte.weight';
const on = { device: gpu, precision: 'bf16' } as const;

/** Two micro-batches of four rows. */
const halves = (step: number): Batch[] => [batchOfStep(step, 0, 4), batchOfStep(step, 4, 8)];
const capacity = { rows: 4, lengths: { time } };

async function steps(model: NativeModel, from: number, to: number): Promise<number[]> {
  const losses: number[] = [];
  for (let step = from; step < to; step++)
    losses.push((await model.trainStep(capacity, halves(step))).lossSum);
  return losses;
}

test('a step that was seen before allocates nothing and waits for nothing', async () => {
  await withModel(graph, on, async (model) => {
    await startCurve(model, graph);
    const two = (step: number) =>
      Promise.all([model.trainStep(capacity, halves(step)), model.trainStep(capacity, halves(step + 1))]);
    for (let step = 0; step < 4; step += 2) await two(step); // call by call, recorded, replayed
    const before = await deviceStatistics(gpu);
    const results = [];
    for (let step = 4; step < 24; step += 2) results.push(...(await two(step)));
    expect(results.map(({ attemptedSteps }) => attemptedSteps)).toEqual(results.map((_, i) => i + 5));
    expect(await deviceStatistics(gpu)).toEqual(before);
  });
});

test('steps that are enqueued ahead, replayed or measured give the same bits', async () => {
  type Step = (model: NativeModel, step: number) => Promise<{ lossSum: number }>;
  const train = (two: boolean, one: Step) =>
    withModel(graph, on, async (model) => {
      await startCurve(model, graph);
      const losses: number[] = [];
      for (let step = 0; step < 8; step += 2) {
        const first = one(model, step);
        if (!two) await first;
        const second = one(model, step + 1);
        losses.push((await first).lossSum, (await second).lossSum);
      }
      return { losses, weight: await model.readTensor('parameter', weight) };
    });
  const replayed = await train(false, (model, step) => model.trainStep(capacity, halves(step)));
  expect(await train(true, (model, step) => model.trainStep(capacity, halves(step)))).toEqual(replayed);
  const measured = await train(
    false,
    async (model, step) => (await model.profileStep(capacity, halves(step))).result,
  );
  expect(measured).toEqual(replayed);
});

test('a third step under way is refused, as is any other call', async () => {
  await withModel(graph, on, async (model) => {
    await startCurve(model, graph);
    const under = [model.trainStep(capacity, halves(0)), model.trainStep(capacity, halves(1))];
    await failureOf('ERR_BUSY', () => model.trainStep(capacity, halves(2)));
    await failureOf('ERR_BUSY', () => model.readTensor('parameter', weight));
    await Promise.all(under);
    expect(await model.counters()).toEqual({ attempted: 2, applied: 2 });
  });
});

test('a measured step reports every call with its time', async () => {
  await withModel(graph, on, async (model) => {
    await startCurve(model, graph);
    await steps(model, 0, 1);
    const { timings, result } = await model.profileStep(capacity, halves(1));
    expect(result.attemptedSteps).toBe(2);
    const micro = timings.filter(({ section }) => section === 'micro');
    expect(micro.slice(0, micro.length / 2).map(({ call }) => call)).toEqual(
      micro.slice(micro.length / 2).map(({ call }) => call),
    );
    expect(timings.filter(({ section }) => section === 'update').map(({ operation }) => operation)).toEqual([
      'gradient_norm',
      'adamw',
      'advance_counters',
    ]);
    for (const { seconds } of timings) {
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThan(0.1); // of a model of 40,000 parameters
    }
  });
});

test('models on one device in turn, at several capacities, give the bits of each alone', async () => {
  const alone = (time: number) =>
    withModel(graph, on, async (model) => {
      await startCurve(model, graph);
      const one = await step(model, time, 0);
      return [one, ...(await rest(model, time))];
    });
  const cut = (batch: Batch, to: number): Batch =>
    Object.fromEntries(
      Object.entries(batch).map(([name, values]) => [
        name,
        Int32Array.from({ length: 4 * to }, (_, i) => values[Math.floor(i / to) * time + (i % to)]!),
      ]),
    );
  const step = async (model: NativeModel, to: number, index: number): Promise<number> => {
    const batches = halves(index).map((batch) => cut(batch, to));
    return (await model.trainStep({ rows: 4, lengths: { time: to } }, batches)).lossSum;
  };
  const rest = async (model: NativeModel, to: number): Promise<number[]> => {
    const losses: number[] = [];
    for (let i = 1; i < 6; i++) losses.push(await step(model, to, i));
    return losses;
  };
  const [short, long] = [await alone(8), await alone(32)];
  await withModel(graph, on, (first) =>
    withModel(graph, on, async (second) => {
      await startCurve(first, graph);
      await startCurve(second, graph);
      const losses: [number[], number[]] = [[], []];
      for (let i = 0; i < 6; i++) {
        // The workspace that both share grows between two replays of the first.
        const [a, b] = await Promise.all([step(first, 8, i), step(second, 32, i)]);
        losses[0].push(a);
        losses[1].push(b);
      }
      expect(losses).toEqual([short, long]);
    }),
  );
});

test('a batch that does not fit is refused before anything runs, with the plan’s table; the model goes on', async () => {
  // 20 M parameters, which a row of 1,024 positions needs 100 MB for.
  const config = { ...TINY, nPositions: 1024, nEmbd: 512, nLayer: 6, nHead: 8 };
  using model = await Model.create(config, { device: gpu as 'cuda:0', seed: 1 });
  const { native } = model;
  await startTiny(native);
  const small = { tokens: new Int32Array(64), targets: new Int32Array(64) };
  await native.trainStep({ rows: 2, lengths: { time: 32 } }, [small]);
  const rows = 2048;
  const large = { tokens: new Int32Array(rows * 1024), targets: new Int32Array(rows * 1024) };
  const { message } = await failureOf('ERR_OUT_OF_MEMORY', () =>
    native.trainStep({ rows, lengths: { time: 1024 } }, [large]),
  );
  expect(message).toMatch(/workspace/);
  expect(message).toMatch(/parameters/);
  expect(await native.counters()).toEqual({ attempted: 1, applied: 1 });
  await native.trainStep({ rows: 2, lengths: { time: 32 } }, [small]);
  expect(await native.counters()).toEqual({ attempted: 2, applied: 2 });
});

const startTiny = (model: NativeModel): Promise<void> =>
  model.configureTraining({
    optimizer: { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
    maxGradNorm: 1,
    labelSmoothing: 0,
    learningRates: Float32Array.of(1e-3),
  });

test('a model that is disposed of while a step is under way lets it end, and memory comes back', async () => {
  for (let i = 0; i < 20; i++) {
    const model = await NativeModel.create(graph, { ...on, seed: SEED });
    await startCurve(model, graph);
    const under = model.trainStep(capacity, halves(0));
    model.dispose();
    expect((await under).attemptedSteps).toBe(1);
    await failureOf('ERR_DISPOSED', () => model.trainStep(capacity, halves(1)));
  }
});

test('auto takes the GPU', async () => {
  using model = await Model.create(TINY);
  expect(model.device).toBe(gpu);
  expect(model.precision).toBe('bf16');
});

if (secondGpu === undefined) console.log('two devices in one process: not tested, this machine has one GPU');
(secondGpu === undefined ? test.skip : test)('two devices in one process give the bits of one', async () => {
  const start = async (device: string): Promise<NativeModel> => {
    const model = await NativeModel.create(graph, { ...on, device, seed: SEED });
    await startCurve(model, graph);
    return model;
  };
  const models = [await start(gpu), await start(secondGpu!)];
  const [first, second] = await Promise.all(models.map((model) => steps(model, 0, 10)));
  expect(second).toEqual(first);
  expect(await models[1]!.readTensor('parameter', weight)).toEqual(
    await models[0]!.readTensor('parameter', weight),
  );
  for (const model of models) model.dispose();
});
