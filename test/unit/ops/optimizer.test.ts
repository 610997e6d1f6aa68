import { gpt2 } from '../../../lib/models/gpt2';
import type { Batch, NativeModel } from '../../../lib/native';
import { failureOf } from '../support/errors';
import { randomBatch, randomWeights } from '../support/gpt2_cases';
import { batchOf, withModel, writeParameters } from '../support/native';

// Arithmetic of an update is checked in whole_model.test.ts; here are the cases in which it is not the usual one.
const graph = gpt2({
  vocabSize: 13,
  nPositions: 5,
  nEmbd: 6,
  nHead: 1,
  nLayer: 1,
  positions: 'sinusoidal',
});
const capacity = { rows: 2, lengths: { time: 5 } };
const batch = (step: number): Batch => batchOf(graph, randomBatch(graph, 2, 5, step));
const weight = 'transformer.h.0.mlp.c_fc.weight';

const train = <T>(
  use: (model: NativeModel) => Promise<T>,
  options: Partial<Parameters<NativeModel['configureTraining']>[0]> = {},
): Promise<T> =>
  withModel(graph, {}, async (model) => {
    await writeParameters(model, randomWeights(graph));
    await model.configureTraining({
      optimizer: { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
      maxGradNorm: 1,
      labelSmoothing: 0,
      learningRates: Float32Array.of(0.5, 0.25),
      ...options,
    });
    return use(model);
  });

const state = async (model: NativeModel): Promise<Float32Array[]> => [
  await model.readTensor('parameter', weight),
  await model.readTensor('moment1', weight),
  await model.readTensor('moment2', weight),
];

test('a step without a valid target is attempted, not applied', async () => {
  await train(async (model) => {
    await model.trainStep(capacity, [batch(0)]);
    const before = await state(model);
    const ignored = { ...batch(1), targets: new Int32Array(10).fill(-100) };
    expect(await model.trainStep(capacity, [ignored])).toMatchObject({
      lossSum: 0,
      validTargets: 0,
      applied: false,
      attemptedSteps: 2,
      appliedSteps: 1,
    });
    expect(await state(model)).toEqual(before);
  });
});

test('a step whose gradient is not finite is attempted, not applied', async () => {
  await train(async (model) => {
    await model.trainStep(capacity, [batch(0)]);
    const bias = await model.readTensor('parameter', 'transformer.ln_f.bias');
    await model.writeTensor(
      'parameter',
      'transformer.ln_f.bias',
      bias.map(() => NaN),
    );
    const before = await state(model);
    const result = await model.trainStep(capacity, [batch(1)]);
    expect(result).toMatchObject({ applied: false, attemptedSteps: 2, appliedSteps: 1 });
    expect(Number.isFinite(result.lossSum)).toBe(false);
    expect(await state(model)).toEqual(before);
    // Back on its feet with the next batch.
    await model.writeTensor('parameter', 'transformer.ln_f.bias', bias);
    expect(await model.trainStep(capacity, [batch(2)])).toMatchObject({ applied: true, appliedSteps: 2 });
  });
});

test('rates are taken by applied steps, and the last one holds', async () => {
  await train(async (model) => {
    const rates: number[] = [];
    for (let step = 0; step < 4; step++) {
      const ignored = { ...batch(step), targets: new Int32Array(10).fill(-100) };
      rates.push((await model.trainStep(capacity, [step === 1 ? ignored : batch(step)])).learningRate);
    }
    expect(rates).toEqual([0.5, 0.25, 0.25, 0.25]);
    expect(await model.counters()).toEqual({ attempted: 4, applied: 3 });
    await model.setCounters({ attempted: 7, applied: 0 });
    expect(await model.trainStep(capacity, [batch(4)])).toMatchObject({
      learningRate: 0.5,
      attemptedSteps: 8,
      appliedSteps: 1,
    });
  });
});

test('a step hands out what it measured by name, the same from a measured step', async () => {
  await train(async (model) => {
    const number: unknown = expect.any(Number);
    const measured = {
      lossSum: number,
      validTargets: 10,
      gradNorm: number,
      learningRate: 0.5,
      applied: true,
      attemptedSteps: 1,
      appliedSteps: 1,
      lossScale: 1,
      skippedInRow: 0,
      losses: [{ sum: number, validTargets: 10 }],
    };
    const all = { ...batch(0), targets: new Int32Array(10).fill(3) };
    expect(await model.trainStep(capacity, [all])).toEqual(measured);
    const { result } = await model.profileStep(capacity, [all]);
    expect(result).toEqual({ ...measured, learningRate: 0.25, attemptedSteps: 2, appliedSteps: 2 });
  });
});

test.each([
  { attempted: -1 },
  { applied: 0.5 },
  { attempted: 2 ** 54 },
  { applied: NaN },
  { applied: undefined },
])('counters that are no numbers of steps are refused: %p', async (wrong) => {
  await train(async (model) => {
    await model.trainStep(capacity, [batch(0)]);
    const before = await model.counters();
    const counters = { ...before, ...wrong } as typeof before;
    await failureOf('ERR_CONFIG', () => model.setCounters(counters));
    expect(await model.counters()).toEqual(before);
  });
});

test('a parameter that is not trainable stays as it is', async () => {
  await train(async (model) => {
    const before = await model.readTensor('parameter', 'transformer.wpe.weight');
    for (let step = 0; step < 3; step++) await model.trainStep(capacity, [batch(step)]);
    expect(await model.readTensor('parameter', 'transformer.wpe.weight')).toEqual(before);
  });
});

test('at a rate of 0 parameters stay and moments move', async () => {
  const learningRates = Float32Array.of(0);
  await train(
    async (model) => {
      const [parameter, moment1] = await state(model);
      await model.trainStep(capacity, [batch(0)]);
      const after = await state(model);
      expect(after[0]).toEqual(parameter);
      expect(after[1]).not.toEqual(moment1);
    },
    { learningRates },
  );
});

test('a maximum norm of 0 clips nothing', async () => {
  // Without clipping the first moment is (1 − β1) · gradient.
  const clipped = await train(
    async (model) => {
      const { gradNorm } = await model.trainStep(capacity, [batch(0)]);
      expect(gradNorm).toBeGreaterThan(0.2);
      return (await state(model))[1]!.map((m) => m * (gradNorm / 0.1));
    },
    { maxGradNorm: 0.1 },
  );
  const free = await train(
    async (model) => {
      await model.trainStep(capacity, [batch(0)]);
      return (await state(model))[1]!;
    },
    { maxGradNorm: 0 },
  );
  free.forEach((m, i) => expect(clipped[i]! - m).toBeCloseTo(0, 6));
});
