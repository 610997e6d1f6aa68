import type { ErrorCode } from '../../../lib/errors';
import { gpt2 } from '../../../lib/models/gpt2';
import type { Batch, NativeModel, NativeTrainingOptions, StepResult } from '../../../lib/native';
import { failureOf } from '../support/errors';
import { randomBatch, randomWeights } from '../support/gpt2_cases';
import { batchOf, withModel, writeParameters } from '../support/native';

// Loss scaling is for fp16, which the CPU does not have. The rule and its effects are the same in fp32, where a scale near the
// largest number overflows.
const graph = gpt2({ vocabSize: 13, nPositions: 5, nEmbd: 6, nHead: 1, nLayer: 1 });
const capacity = { rows: 2, lengths: { time: 5 } };
const batch = (step: number): Batch => batchOf(graph, randomBatch(graph, 2, 5, step));

type Scaling = NonNullable<NativeTrainingOptions['lossScaling']>;

const train = <T>(lossScaling: Scaling | undefined, use: (model: NativeModel) => Promise<T>): Promise<T> =>
  withModel(graph, {}, async (model) => {
    await writeParameters(model, randomWeights(graph));
    // Large gradients, so that the largest scales do overflow.
    await model.writeTensor('parameter', 'transformer.ln_f.weight', new Float32Array(6).fill(2 ** 10));
    await model.configureTraining({
      optimizer: { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
      maxGradNorm: 1,
      labelSmoothing: 0,
      learningRates: Float32Array.of(0.5, 0.25, 0.125),
      ...(lossScaling === undefined ? {} : { lossScaling }),
    });
    return use(model);
  });

/** PyTorch's GradScaler.update(), in TypeScript. */
function nextScale(
  { growthFactor, backoffFactor, growthInterval }: Scaling,
  state: { scale: number; clean: number },
  finite: boolean,
): { scale: number; clean: number } {
  if (!finite) return { scale: state.scale * backoffFactor, clean: 0 };
  if (state.clean + 1 < growthInterval) return { scale: state.scale, clean: state.clean + 1 };
  const grown = state.scale * growthFactor;
  return { scale: Number.isFinite(Math.fround(grown)) ? grown : state.scale, clean: 0 };
}

test('the scale follows the rule through overflows, and skipped steps advance nothing', async () => {
  const scaling = { initScale: 2 ** 127, growthFactor: 2 ** 9, backoffFactor: 2 ** -5, growthInterval: 3 };
  await train(scaling, async (model) => {
    let expected = { scale: scaling.initScale, clean: 0 };
    let [applied, inRow] = [0, 0];
    const seen = new Set<string>();
    for (let step = 0; step < 40; step++) {
      const before = await model.readTensor('moment1', 'transformer.wte.weight');
      const result = await model.trainStep(capacity, [batch(step)]);
      applied += result.applied ? 1 : 0;
      inRow = result.applied ? 0 : inRow + 1;
      expected = nextScale(scaling, expected, result.applied);
      expect(result).toMatchObject({
        lossScale: expected.scale,
        skippedInRow: inRow,
        attemptedSteps: step + 1,
        appliedSteps: applied,
      });
      expect(Number.isFinite(result.gradNorm)).toBe(result.applied);
      const after = await model.readTensor('moment1', 'transformer.wte.weight');
      if (result.applied) expect(after).not.toEqual(before);
      else expect(after).toEqual(before);
      seen.add(`${String(result.applied)} ${result.lossScale}`);
    }
    // It overflowed, recovered, grew and overflowed again.
    expect(seen.size).toBeGreaterThan(5);
    expect(applied).toBeGreaterThan(20);
    expect(applied).toBeLessThan(40);
  });
});

test('a scale that is a power of two does not change a bit of the weights', async () => {
  const run = (lossScaling?: Scaling): Promise<{ steps: Partial<StepResult>[]; weight: Float32Array }> =>
    train(lossScaling, async (model) => {
      const steps: Partial<StepResult>[] = [];
      for (let step = 0; step < 5; step++) {
        const { lossSum, gradNorm } = await model.trainStep(capacity, [batch(step), batch(step + 9)]);
        steps.push({ lossSum, gradNorm });
      }
      return { steps, weight: await model.readTensor('parameter', 'transformer.wte.weight') };
    });
  expect(await run({ initScale: 1024, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2 })).toEqual(
    await run(),
  );
});

test('a growth that fp32 can not hold is left out', async () => {
  await train(
    { initScale: 2, growthFactor: 2 ** 100, backoffFactor: 0.5, growthInterval: 1 },
    async (model) => {
      expect((await model.trainStep(capacity, [batch(0)])).lossScale).toBe(2 ** 101);
      expect((await model.trainStep(capacity, [batch(1)])).lossScale).toBe(2 ** 101);
    },
  );
});

test('a step without a valid target is no overflow', async () => {
  await train({ initScale: 8, growthFactor: 2, backoffFactor: 0.5, growthInterval: 100 }, async (model) => {
    const ignored = { ...batch(0), targets: new Int32Array(10).fill(-100) };
    expect(await model.trainStep(capacity, [ignored])).toMatchObject({
      applied: false,
      lossScale: 8,
      skippedInRow: 0,
    });
  });
});

test('settings that make no sense are refused', async () => {
  const good = { initScale: 8, growthFactor: 2, backoffFactor: 0.5, growthInterval: 100 };
  const wrong: [ErrorCode, Partial<Scaling>][] = [
    ['ERR_CONFIG', { initScale: 0 }],
    ['ERR_CONFIG', { initScale: Infinity }],
    ['ERR_SHAPE', { growthFactor: 0.5 }],
    ['ERR_SHAPE', { backoffFactor: 1 }],
    ['ERR_SHAPE', { backoffFactor: 0 }],
    ['ERR_CONFIG', { growthInterval: 0 }],
    ['ERR_CONFIG', { growthInterval: 1.5 }],
  ];
  for (const [code, one] of wrong) {
    const failure = await failureOf(code, () =>
      train({ ...good, ...one }, (model) => model.trainStep(capacity, [batch(0)])),
    );
    expect(failure.message).toContain(Object.keys(one)[0]);
  }
});

test('the scaler continues from a checkpoint, and a wrong one is refused', async () => {
  const rule = { initScale: 4, growthFactor: 2, backoffFactor: 0.5, growthInterval: 3 };
  await train(rule, async (model) => {
    expect(await model.scaler()).toEqual({ scale: 4, cleanSteps: 0, skippedInRow: 0 });
    const saved = { scale: 8, cleanSteps: 2, skippedInRow: 0 };
    await model.setScaler(saved);
    expect(await model.scaler()).toEqual(saved);
    expect((await model.trainStep(capacity, [batch(0)])).lossScale).toBe(16);
    expect(await model.scaler()).toEqual({ scale: 16, cleanSteps: 0, skippedInRow: 0 });
    for (const wrong of [
      { scale: 0 },
      { scale: NaN },
      { scale: 2 ** 200 },
      { cleanSteps: 0.5 },
      { skippedInRow: -1 },
    ])
      await failureOf('ERR_CONFIG', () => model.setScaler({ ...saved, ...wrong }));
    expect(await model.scaler()).toEqual({ scale: 16, cleanSteps: 0, skippedInRow: 0 });
  });
});
