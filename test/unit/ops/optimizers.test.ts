import type { NativeModel } from '../../../lib/native';
import { failureOf } from '../support/errors';
import { randomBatch, randomWeights } from '../support/gpt2_cases';
import { batchOf, withModel, writeParameters } from '../support/native';
import {
  checkFreezing,
  checkOptimizer,
  optimizerCases,
  optimizerGraph as graph,
} from '../support/optimizers';

const weight = 'transformer.h.0.mlp.c_fc.weight';
const capacity = { rows: 2, lengths: { time: 5 } };
const batch = (step: number) => batchOf(graph, randomBatch(graph, 2, 5, step));
const plain = { maxGradNorm: 1, labelSmoothing: 0, learningRates: Float32Array.of(0.01) };

describe.each(optimizerCases)('%s', (_, optimizer, moments) => {
  test('eight steps follow the oracle, on one thread and on two', async () => {
    await checkOptimizer(optimizer, moments);
    await checkOptimizer(optimizer, moments, { model: { threads: 2 } });
  });

  test('rates and momenta come from their tables by applied steps', async () => {
    const table = (from: number, to: number): Float32Array =>
      Float32Array.from({ length: 8 }, (_, i) => from + ((to - from) * i) / 7);
    // Momentum that a table moves needs a moment, whatever the setting.
    await checkOptimizer(optimizer, Math.max(moments, 1), {
      learningRates: table(0.02, 0),
      momenta: table(0.95, 0.85),
    });
  });

  test('parameters have rates and decays of their own, and frozen ones keep their bits', async () => {
    const frozen = ['transformer.wte.weight', 'transformer.h.0.attn.c_attn.bias'];
    const before = randomWeights(graph);
    await checkOptimizer(optimizer, moments, {
      parameters: {
        [weight]: { learningRateScale: 0.25 },
        'transformer.ln_f.bias': { weightDecay: 0.5 },
        'transformer.wpe.weight': { weightDecay: 0, learningRateScale: 3 },
        ...Object.fromEntries(frozen.map((name) => [name, { trainable: false }])),
      },
      look: async (model) => {
        for (const name of frozen) {
          expect(await model.readTensor('parameter', name)).toEqual(
            Float32Array.from(before.get(name)!.data),
          );
          expect((await model.readTensor('gradient', name)).every((g) => g === 0)).toBe(true);
        }
      },
    });
  });

  test('keeps no moments but its own', async () => {
    await train({ optimizer }, async (model) => {
      for (const [i, kind] of (['moment1', 'moment2'] as const).entries()) {
        const read = () => model.readTensor(kind, weight);
        if (i < moments) expect(await read()).toHaveLength(88 * 22);
        else await failureOf('ERR_CONFIG', read);
      }
    });
  });

  test('a step that is not applied changes nothing', async () => {
    await train({ optimizer, emaDecay: 0.9 }, async (model) => {
      const bits = async () => [
        await model.readTensor('parameter', weight),
        await model.readTensor('ema', weight),
        ...(moments > 0 ? [await model.readTensor('moment1', weight)] : []),
      ];
      await model.trainStep(capacity, [batch(0)]);
      const before = await bits();
      const ignored = { ...batch(1), targets: new Int32Array(10).fill(-100) };
      expect((await model.trainStep(capacity, [ignored])).applied).toBe(false);
      expect(await bits()).toEqual(before);
    });
  });
});

const train = <T>(
  options: Pick<Parameters<NativeModel['configureTraining']>[0], 'optimizer' | 'emaDecay' | 'parameters'>,
  use: (model: NativeModel) => Promise<T>,
): Promise<T> =>
  withModel(graph, {}, async (model) => {
    await writeParameters(model, randomWeights(graph));
    await model.configureTraining({ ...plain, ...options });
    return use(model);
  });

const adamw = optimizerCases[0]![1];

test('the moving average starts at the parameters and follows them', async () => {
  await train({ optimizer: adamw, emaDecay: 0.75 }, async (model) => {
    const ema = Float64Array.from(await model.readTensor('parameter', weight));
    expect(await model.readTensor('ema', weight)).toEqual(Float32Array.from(ema));
    for (let step = 0; step < 5; step++) {
      await model.trainStep(capacity, [batch(step)]);
      const parameter = await model.readTensor('parameter', weight);
      ema.forEach((value, i) => (ema[i] = 0.75 * value + 0.25 * parameter[i]!));
      const read = await model.readTensor('ema', weight);
      // Five steps of three roundings of 2⁻²⁴ relative to the parameters, which are at most 1 or so.
      read.forEach((value, i) => expect(Math.abs(value - ema[i]!)).toBeLessThan(5e-7));
    }
  });
});

test('another optimizer frees the moments that it does not use', async () => {
  await train({ optimizer: adamw, emaDecay: 0.9 }, async (model) => {
    await model.trainStep(capacity, [batch(0)]);
    const sgd = { type: 'sgd', momentum: 0.9, nesterov: false, weightDecay: 0 } as const;
    await model.configureTraining({ ...plain, optimizer: sgd });
    expect((await model.readTensor('moment1', weight)).every((m) => m === 0)).toBe(true);
    for (const kind of ['moment2', 'ema'] as const)
      await failureOf('ERR_CONFIG', () => model.readTensor(kind, weight));
    expect((await model.trainStep(capacity, [batch(1)])).applied).toBe(true);
    await model.configureTraining({ ...plain, optimizer: adamw });
    expect((await model.trainStep(capacity, [batch(2)])).applied).toBe(true);
  });
});

test('a frozen parameter has no gradient, and others have theirs', () => checkFreezing({}));

test('frozen parameters are left out of the norm, also when they had gradients before', async () => {
  const names = graph.parameters.map(({ name }) => name);
  const parameters = Object.fromEntries(names.slice(1).map((name) => [name, { trainable: false }]));
  await train({ optimizer: adamw }, async (model) => {
    await model.trainStep(capacity, [batch(0)]);
    await model.configureTraining({ ...plain, optimizer: adamw, parameters });
    const { gradNorm, validTargets } = await model.trainStep(capacity, [batch(1)]);
    const gradient = await model.readTensor('gradient', names[0]!);
    const norm = Math.hypot(...gradient) * (10 / validTargets);
    expect(gradNorm / norm).toBeCloseTo(1, 5);
  });
});

test.each([
  ['type', { optimizer: { ...adamw, type: 'lion' } }],
  ['dampening', { optimizer: { type: 'sgd', momentum: 0, nesterov: false, weightDecay: 0, dampening: 1 } }],
  ['firstSteps', { optimizer: { ...adamw, type: 'radam', firstSteps: 'all' } }],
  ['learningRateScale', { optimizer: adamw, parameters: { [weight]: { learningRateScale: 0 } } }],
  ['no parameter', { optimizer: adamw, parameters: { nobody: {} } }],
  ['momenta', { optimizer: adamw, momenta: Float32Array.of(1) }],
  ['momenta', { optimizer: adamw, momenta: Float32Array.of(0.5, 0.5) }],
])('refuses a wrong %s', async (word, options) => {
  await withModel(graph, {}, async (model) => {
    const failure = await failureOf('ERR_CONFIG', () =>
      model.configureTraining({ ...plain, ...options } as Parameters<NativeModel['configureTraining']>[0]),
    );
    expect(failure.message).toContain(word);
  });
});
