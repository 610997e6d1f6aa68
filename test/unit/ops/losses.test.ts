import type { LossSpec } from '../../../lib/graph/graph';
import type { NativeModel } from '../../../lib/native';
import type { Tensor } from '../../oracles/tensor';
import { OracleTrainer } from '../../oracles/training';
import { expectClose } from '../support/compare';
import { failureOf } from '../support/errors';
import { randomBatch, randomWeights } from '../support/gpt2_cases';
import { batchOf, SEED, withModel, writeParameters } from '../support/native';
import { threeLosses } from '../support/three_losses';

const rows = 3;
const time = 7;
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-4, weightDecay: 0.1 };

const graph = threeLosses({ loss: 1, kind: 0.3, before: 2.5 });
const weights = randomWeights(graph);

async function configure(model: NativeModel): Promise<void> {
  await writeParameters(model, weights);
  await model.configureTraining({
    optimizer: { type: 'adamw', ...optimizer },
    maxGradNorm: 0.5,
    labelSmoothing: 0.05,
    learningRates: Float32Array.of(1e-2),
  });
}

/** With `ignored`, no target of these losses counts. */
function batchAt(seed: number, ignored: readonly string[] = []): Map<string, Tensor> {
  const batch = randomBatch(graph, rows, time, seed);
  for (const name of ignored) batch.get(`${name}.targets`)!.data.fill(-1);
  return batch;
}

const steps = [
  { name: 'targets everywhere', ignored: [[], []] },
  { name: 'a loss without targets in one of two micro-batches', ignored: [['kinds'], []] },
  { name: 'a loss without targets', ignored: [['kinds'], ['kinds']] },
  { name: 'the first loss without targets', ignored: [['next'], ['next']] },
] as const;

test('losses have the weights of their means, over the valid targets of all micro-batches', async () => {
  const oracle = new OracleTrainer(graph, randomWeights(graph));
  await withModel(graph, {}, async (model) => {
    await configure(model);
    for (const [step, { name, ignored }] of steps.entries()) {
      const batches = ignored.map((losses, i) => batchAt(10 * step + i, losses));
      const result = await model.trainStep(
        { rows, lengths: { time } },
        batches.map((batch) => batchOf(graph, batch)),
      );
      const expected = oracle.step(batches, {
        ...optimizer,
        maxGradNorm: 0.5,
        labelSmoothing: 0.05,
        seed: SEED,
        learningRate: Math.fround(1e-2),
      });
      expect([name, result.applied]).toEqual([name, true]);
      expected.losses.forEach(({ sum, validTargets }, i) => {
        expect([name, i, result.losses[i]!.validTargets]).toEqual([name, i, validTargets]);
        expect(Math.abs(result.losses[i]!.sum - sum)).toBeLessThanOrEqual(2e-6 * sum);
      });
      expect(result.lossSum).toBe(result.losses[0]!.sum);
      // As in whole_model.test.ts: rounding passes through a few operations.
      expect(Math.abs(result.gradNorm / expected.gradNorm - 1)).toBeLessThan(2.5e-6);
    }
    for (const { name } of graph.parameters)
      expectClose(name, await model.readTensor('parameter', name), oracle.state(name).parameter, 1e-5);
  });
});

test('a step without targets for any loss is not applied', async () => {
  await withModel(graph, {}, async (model) => {
    await configure(model);
    const before = await model.readTensor('parameter', 'wte');
    const batch = batchOf(graph, batchAt(1, ['next', 'kinds', 'before']));
    expect(await model.trainStep({ rows, lengths: { time } }, [batch])).toMatchObject({
      applied: false,
      gradNorm: 0,
    });
    expect(await model.readTensor('parameter', 'wte')).toEqual(before);
  });
});

test('one batch gives the same bits as before where its targets moved in between', async () => {
  await withModel(graph, {}, async (model) => {
    const trained: Float32Array[] = [];
    for (const others of [[], [2, 3]]) {
      await configure(model);
      for (const seed of others) {
        await model.run({ mode: 'train', rows, lengths: { time } }, batchOf(graph, batchAt(seed, ['kinds'])));
      }
      await model.trainStep({ rows, lengths: { time } }, [batchOf(graph, batchAt(1))]);
      trained.push(await model.readTensor('parameter', 'wte'));
    }
    expect(trained[1]).toEqual(trained[0]);
  });
});

test('a program has all losses unless the request selects some', async () => {
  await withModel(graph, {}, async (model) => {
    const batch = batchOf(graph, batchAt(1));
    const outputs = async (request: object): Promise<string[]> =>
      Object.keys(
        (await model.run({ mode: 'eval', rows, lengths: { time }, ...request }, batch)).outputs,
      ).sort();
    expect(await outputs({})).toEqual(['before', 'kind', 'loss']);
    const { 'before.targets': _, 'kinds.targets': __, ...needed } = batch;
    const { outputs: one } = await model.run(
      { mode: 'eval', rows, lengths: { time }, outputs: ['loss'] },
      needed,
    );
    expect(Object.keys(one)).toEqual(['loss']);
  });
});

test('rewritten and plain programs agree', async () => {
  await withModel(graph, {}, async (model) => {
    await writeParameters(model, weights);
    const gradients: Float32Array[] = [];
    for (const rewrite of [true, false]) {
      await model.run({ mode: 'train', rows, lengths: { time }, rewrite }, batchOf(graph, batchAt(4)));
      gradients.push(await model.readTensor('gradient', 'wte'));
    }
    expectClose('gradient', gradients[0]!, gradients[1]!, 1e-6);
  });
});

test.each<[string, (losses: readonly LossSpec[]) => readonly LossSpec[], RegExp]>([
  [
    'an output that is not there',
    ([a]) => [a!, { output: 'nothing', weight: 1 }],
    /losses\[1\].output .*'nothing'/,
  ],
  ['one loss twice', ([a]) => [a!, a!], /losses\[1\].output .*'loss'/],
  ['a weight of zero', ([a]) => [{ ...a!, weight: 0 }], /losses\[0\].weight is 0; it must be greater than 0/],
  [
    'a weight of the only one',
    ([a]) => [{ ...a!, weight: 2 }],
    /losses\[0\].weight is 2; a single loss must have/,
  ],
  ['too many', ([a, b, c]) => [a!, b!, c!, a!, b!], /graph.losses/],
])('refuses a list of losses with %s', async (_, change, message) => {
  const changed = { ...graph, losses: change(graph.losses!) };
  const failure = await failureOf('ERR_CONFIG', () => withModel(changed, {}, () => Promise.resolve()));
  expect(failure.message).toMatch(message);
});

test('refuses to train a loss that the graph does not list', async () => {
  const two = { ...graph, losses: graph.losses!.slice(0, 2) };
  await withModel(two, {}, async (model) => {
    const request = { mode: 'train', rows, lengths: { time }, outputs: ['before'] } as const;
    const failure = await failureOf('ERR_CONFIG', () => model.run(request, batchOf(graph, batchAt(1))));
    expect(failure.message).toBe('before: the graph does not list it among its losses');
  });
});
