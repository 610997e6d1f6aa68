import type { Graph } from '../../../lib/graph/graph';
import { gpt2 } from '../../../lib/models/gpt2';
import { NativeModel, type Batch, type NativeTrainingOptions, type StepResult } from '../../../lib/native';
import { expectClose } from '../support/compare';
import { failureOf } from '../support/errors';
import { randomBatch, randomWeights } from '../support/gpt2_cases';
import { batchOf, withModel, writeParameters } from '../support/native';
import { threeLosses } from '../support/three_losses';
import { bitsOfRank, rankNames, stepOver, withRanks } from './support';

const sizes = { vocabSize: 61, nPositions: 11, nEmbd: 30, nHead: 3, nLayer: 2 };
const plain = gpt2({ ...sizes, embdPdrop: 0, attnPdrop: 0, residPdrop: 0 });
const dropping = gpt2({ ...sizes, embdPdrop: 0.1, attnPdrop: 0.2, residPdrop: 0.3 });
const losses = threeLosses({ loss: 1, kind: 0.3, before: 2.5 });
const capacity = { rows: 2, lengths: { time: 9 } };

/** A fifth of the targets is ignored: a different number in each batch. */
const batches = (graph: Graph, step: number, count: number): Batch[] =>
  Array.from({ length: count }, (_, i) => batchOf(graph, randomBatch(graph, 2, 9, step * count + i)));

const bits = (values: Float32Array): string => Buffer.from(values.buffer).toString('hex');

async function gradientsOf(model: NativeModel, graph: Graph, rank = 0): Promise<Map<string, Float32Array>> {
  const gradients = new Map<string, Float32Array>();
  for (const { name } of graph.parameters)
    gradients.set(name, await model.readTensor('gradient', name, 'logical', rank));
  return gradients;
}

// So many ranks divide the gradient that a loss starts with by a power of two, which is exact.
test.each([2, 4])('the gradients of %i ranks are the sum of their own, bit for bit', async (ranks) => {
  const step = batches(plain, 0, ranks);
  const own: Map<string, Float32Array>[] = [];
  for (const batch of step)
    await withModel(plain, {}, async (model) => {
      await writeParameters(model, randomWeights(plain));
      await model.run({ mode: 'train', ...capacity }, batch);
      own.push(await gradientsOf(model, plain));
    });
  const expected = plain.parameters.map(({ name }) => {
    const [first, ...others] = own.map((gradients) => gradients.get(name)!.map((value) => value / ranks));
    for (const other of others) other.forEach((value, i) => (first![i]! += value));
    return [name, bits(first!)];
  });
  await withRanks(plain, ranks, {}, async (model) => {
    await stepOver(model, capacity, step);
    for (let rank = 0; rank < ranks; rank++) {
      const reduced = await gradientsOf(model, plain, rank);
      expect([...reduced].map(([name, values]) => [name, bits(values)])).toEqual(expected);
    }
  });
});

test('all ranks have the same bits after 50 steps', async () => {
  await withRanks(dropping, 3, { emaDecay: 0.9 }, async (model) => {
    for (let step = 0; step < 50; step++) await stepOver(model, capacity, batches(dropping, step, 3));
    const first = await bitsOfRank(model, 0, true);
    expect(await bitsOfRank(model, 1, true)).toEqual(first);
    expect(await bitsOfRank(model, 2, true)).toEqual(first);
  });
});

/** Trains 20 steps over so many micro-batches each. */
const train = (
  graph: Graph,
  ranks: number,
  microBatches: number,
  options: Partial<NativeTrainingOptions> = {},
): Promise<{ results: StepResult[]; parameters: Map<string, Float32Array> }> =>
  withRanks(graph, ranks, options, async (model) => {
    const results: StepResult[] = [];
    for (let step = 0; step < 20; step++)
      results.push(await stepOver(model, capacity, batches(graph, step, microBatches)));
    const parameters = new Map<string, Float32Array>();
    for (const { name } of graph.parameters) parameters.set(name, await model.readTensor('parameter', name));
    return { results, parameters };
  });

// The sums of gradients differ in their order alone. Rounding grows over 20 steps of Adam, whose ε of 1e-4 bounds it.
describe.each([
  ['2 ranks', plain, 2, 2],
  ['3 ranks', plain, 3, 3],
  ['4 ranks', plain, 4, 4],
  ['2 ranks that accumulate 3 micro-batches, with dropout', dropping, 2, 6],
  ['2 ranks and three losses', losses, 2, 2],
] as const)('%s', (_, graph, ranks, microBatches) => {
  it('train as one rank that accumulates', async () => {
    const options = { labelSmoothing: 0.05, emaDecay: 0.9 };
    const one = await train(graph, 1, microBatches, options);
    const several = await train(graph, ranks, microBatches, options);
    for (const [step, result] of several.results.entries()) {
      const { lossSum, validTargets, gradNorm, losses: all, ...rest } = one.results[step]!;
      expect(result).toMatchObject({ ...rest, validTargets });
      expect(all.map((loss) => loss.validTargets)).toEqual(result.losses.map((loss) => loss.validTargets));
      expectClose(`loss ${step}`, [result.lossSum / validTargets], [lossSum / validTargets], 1e-6);
      expectClose(`gradient norm ${step}`, [result.gradNorm], [gradNorm], 1e-5);
    }
    for (const [name, values] of several.parameters)
      expectClose(name, values, one.parameters.get(name)!, 1e-5);
  });
});

test('a step that one rank refuses is not taken, and the others go on', async () => {
  const bad = { ...batches(plain, 9, 1)[0]!, tokens: new Int32Array(18).fill(61) };
  const run = (refused: boolean): Promise<string[]> =>
    withRanks(plain, 3, {}, async (model) => {
      await stepOver(model, capacity, batches(plain, 0, 3));
      for (const rank of refused ? [0, 2] : []) {
        const step = batches(plain, 1, 3).map((batch, i) => (i === rank ? bad : batch));
        const { message } = await failureOf('ERR_DATA', () => stepOver(model, capacity, step));
        expect(message).toContain('tokens[0][0] is 61');
      }
      expect(await stepOver(model, capacity, batches(plain, 2, 3))).toMatchObject({ attemptedSteps: 2 });
      return [...(await bitsOfRank(model, 0)), ...(await bitsOfRank(model, 2))];
    });
  expect(await run(true)).toEqual(await run(false));
});

test('a loss that is NaN on one rank makes all ranks skip the step', async () => {
  const untied = gpt2({ ...sizes, embdPdrop: 0, attnPdrop: 0, residPdrop: 0, tieWordEmbeddings: false });
  await withRanks(untied, 2, {}, async (model) => {
    const embedding = await model.readTensor('parameter', 'transformer.wte.weight');
    await model.writeTensor('parameter', 'transformer.wte.weight', embedding.fill(NaN, 60 * 30));
    const without = batches(untied, 0, 2).map(({ tokens, ...rest }) => ({
      ...rest,
      tokens: (tokens as Int32Array).map((token) => token % 60),
    }));
    const tokens = without[1]!.tokens.slice().fill(60, 0, 1);
    const before = [await bitsOfRank(model, 0), await bitsOfRank(model, 1)];
    expect(await stepOver(model, capacity, [without[0]!, { ...without[1]!, tokens }])).toMatchObject({
      ...{ applied: false, attemptedSteps: 1, appliedSteps: 0, lossSum: NaN },
    });
    expect([await bitsOfRank(model, 0), await bitsOfRank(model, 1)]).toEqual(before);
    expect(await stepOver(model, capacity, without)).toMatchObject({ applied: true, appliedSteps: 1 });
    expect(await bitsOfRank(model, 1)).toEqual(await bitsOfRank(model, 0));
  });
});

test('ranks of two models take turns on their threads', async () => {
  await withRanks(plain, 2, {}, (one) =>
    withRanks(plain, 2, {}, async (other) => {
      for (let step = 0; step < 10; step++) {
        const running = [one, other, one, other].map((model) =>
          stepOver(model, capacity, batches(plain, step, 2)),
        );
        await Promise.all(running);
      }
      expect(await bitsOfRank(one, 1)).toEqual(await bitsOfRank(other, 0));
    }),
  );
});

test('steps that are queued when the model is disposed still end', async () => {
  await withRanks(plain, 2, {}, async (model) => {
    const steps = [0, 1].map((step) => stepOver(model, capacity, batches(plain, step, 2)));
    model.dispose();
    expect(await Promise.all(steps)).toMatchObject([{ appliedSteps: 1 }, { appliedSteps: 2 }]);
    await failureOf('ERR_DISPOSED', () => stepOver(model, capacity, batches(plain, 2, 2)));
  });
});

test('the others learn of a rank that fails before its step', async () => {
  await withRanks(plain, 2, {}, async (model) => {
    const two = batches(plain, 0, 2);
    const shares = [
      { microBatches: [two[0]!], firstSamples: [0] },
      { microBatches: [], firstSamples: [] },
    ];
    await failureOf('ERR_DATA', () => model.trainRanks(capacity, shares));
    expect(await stepOver(model, capacity, two)).toMatchObject({ attemptedSteps: 1 });
  });
});

test.each([
  ['ERR_CONFIG', ['cpu:0', 'cpu:0'], "two ranks are on 'cpu:0'"],
  ['ERR_CONFIG', rankNames(65), "can't have 65 ranks: use 1 to 64"],
  ['ERR_CONFIG', [], "can't have 0 ranks"],
  ['ERR_DEVICE', ['cpu:0', 'cpu:x'], "'cpu:x' is unknown"],
  ['ERR_DEVICE', ['cuda:0', 'cuda:1'], 'they run on the CPU only'],
] as const)('%s for ranks on %j', async (code, devices, message) => {
  const options = { device: 'cpu', precision: 'fp32', seed: 0, threads: 1 } as const;
  const failure = await failureOf(code, () => NativeModel.create(plain, options, devices));
  expect(failure.message).toContain(message);
});
