import fc from 'fast-check';
import { gpt2 } from '../../lib/models/gpt2';
import { addon, damagedText, expectCoded, mutated, type Json } from './support';

const graph = gpt2({ vocabSize: 13, nPositions: 4, nEmbd: 6, nHead: 1, nLayer: 1 });
const modelOptions = { device: 'cpu', precision: 'fp32', seed: 1, threads: 1 };
const adam = { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weightDecay: 0.1 };

/** Training options that between them say everything. */
const valid: readonly Json[] = [
  {
    optimizer: { type: 'radam', ...adam, firstSteps: 'momentum', decoupledWeightDecay: true },
    parameters: {
      'transformer.wte.weight': { trainable: false },
      'transformer.ln_f.bias': { weightDecay: 0.5, learningRateScale: 2 },
    },
    maxGradNorm: 1,
    labelSmoothing: 0.1,
    emaDecay: 0.9,
    lossScaling: { initScale: 4, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2 },
  },
  {
    optimizer: { type: 'sgd', momentum: 0.9, nesterov: true, weightDecay: 0.1 },
    maxGradNorm: 0,
    labelSmoothing: 0,
  },
];

const batch = {
  tokens: Int32Array.from({ length: 8 }, (_, i) => i % 13),
  targets: Int32Array.from({ length: 8 }, (_, i) => (i + 1) % 13),
};

let model: object;
beforeAll(async () => {
  model = await addon.createModel(JSON.stringify(graph), [JSON.stringify(modelOptions)]);
});
afterAll(() => addon.disposeModel(model));

/** One model for all: options that are refused leave it as usable as those that are taken. */
async function configureAndStep(text: string, rates: unknown, momenta: unknown): Promise<void> {
  try {
    await addon.configureTraining(model, text, rates, momenta);
    const step = JSON.stringify({ rows: 2, lengths: { time: 4 }, samples: [2] });
    await addon.trainStep(model, step, [batch]);
  } catch (failure) {
    expectCoded(failure);
  }
}

const rates = Float32Array.of(0.01, 0);
const none = new Float32Array();

test('training options of another structure train or are refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...valid).chain(mutated), (json) =>
      configureAndStep(JSON.stringify(json), rates, none),
    ),
    { numRuns: 500 },
  );
});

test('damaged text of training options is refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...valid).chain(damagedText), (text) =>
      configureAndStep(text, rates, none),
    ),
    { numRuns: 300 },
  );
});

test('rates and momenta of any numbers train or are refused', async () => {
  const value = fc.oneof(fc.float(), fc.constantFrom(0, -0, 1, NaN, Infinity, -Infinity, 1e-45, 3.4e38));
  const array = fc.array(value, { maxLength: 4 }).map((values) => Float32Array.from(values));
  await fc.assert(
    fc.asyncProperty(array, array, fc.constantFrom(...valid), (learningRates, momenta, json) =>
      configureAndStep(JSON.stringify(json), learningRates, momenta),
    ),
    { numRuns: 300 },
  );
});
