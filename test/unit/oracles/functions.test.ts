import { adamwStep } from '../../oracles/adamw';
import type { RAdamFirstSteps } from '../../../lib/training/optimizer_settings';
import { kernelSmoothing } from '../../../lib/training/label_smoothing';
import { optimizerState, optimizerStep, rectifier } from '../../oracles/optimizers';
import { choose } from '../../oracles/choose';
import { crossEntropy } from '../../oracles/cross_entropy';
import { erf } from '../../oracles/erf';
import { clipFactor, gradientNorm } from '../../oracles/gradient_norm';
import { logSoftmax } from '../../oracles/log_softmax';
import { sinusoidalTable } from '../../oracles/position_embedding';
import { tensor } from '../../oracles/tensor';
import { activations } from '../../oracles/activation';

test.each([
  // Abramowitz and Stegun, table 7.1, and 40 digits of mpmath.
  [0, 0],
  [1e-10, 1.1283791670955126e-10],
  [0.1, 0.1124629160182849],
  [0.5, 0.5204998778130465],
  [1, 0.8427007929497149],
  [2, 0.9953222650189527],
  [3, 0.9999779095030014],
  [5.5, 0.9999999999999927],
  [7, 1],
])('erf(±%d)', (x, expected) => {
  expect(Math.abs(erf(x) - expected)).toBeLessThanOrEqual(2e-15 * expected);
  expect(erf(-x)).toBe(-erf(x));
});

test.each(Object.keys(activations))('%s maps zero to zero and is finite far out', (name) => {
  const { value, derivative } = activations[name]!;
  expect(value(0)).toBe(0);
  for (const x of [-1e4, -30, 30, 1e4]) {
    expect(Number.isFinite(value(x))).toBe(true);
    expect(Number.isFinite(derivative(x))).toBe(true);
  }
});

test('log_softmax is the same for shifted logits and sums to one', () => {
  const x = tensor([2, 3], [1000, 1001, 1002, -1000, -1001, -1002]);
  const y = logSoftmax(x).data;
  const expected = logSoftmax(tensor([2, 3], [0, 1, 2, 2, 1, 0])).data;
  y.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 12));
  expect(Math.exp(y[0]!) + Math.exp(y[1]!) + Math.exp(y[2]!)).toBeCloseTo(1, 12);
});

test('cross-entropy of uniform logits is log V, smoothed or not', () => {
  const logits = tensor([1, 3, 4], new Float64Array(12));
  const targets = tensor([1, 3], [0, -100, 3]);
  for (const labelSmoothing of [0, 0.1]) {
    const { sum, valid } = crossEntropy(logits, targets, { ignoreIndex: -100, labelSmoothing });
    expect(valid).toBe(2);
    expect(sum).toBeCloseTo(2 * Math.log(4), 14);
  }
});

test('smoothing has the values of both definitions', () => {
  const logits = tensor([1, 1, 5], [0.1, 0.2, 0.3, 0.15, 0.25].map(Math.log));
  const targets = tensor([1, 1], [2]);
  const loss = (labelSmoothing: number): number =>
    crossEntropy(logits, targets, { ignoreIndex: -100, labelSmoothing }).sum;
  const digits = 6;
  expect(loss(0)).toBeCloseTo(1.203973, digits);
  expect(loss(0.1)).toBeCloseTo(1.251564, digits); // PyTorch, and fairseq before 2021
  const labelSmoothingType = 'others';
  expect(loss(kernelSmoothing({ labelSmoothing: 0.1, labelSmoothingType }, 5))).toBeCloseTo(1.263461, digits);
});

test.each([
  [0.98, 6, 0.115523],
  [0.99, 6, 0.081679],
  [0.995, 6, 0.057747],
  [0.999, 6, 0.025821],
  [0.98, 10, 0.21974],
  [0.98, 100, 0.819673],
  [0.98, 1000, 1],
])("RAdam's rectifier for β2 %d at step %d is %d", (beta2, t, expected) => {
  expect(rectifier(t, beta2).r).toBeCloseTo(expected, 6);
  // The first step that has one is the sixth.
  expect(rectifier(5, beta2).rho).toBeLessThan(5);
  expect(rectifier(6, beta2).rho).toBeGreaterThan(5);
});

test('what RAdam does until then, computed by hand', () => {
  const adam = { type: 'radam', beta1: 0.5, beta2: 0.98, epsilon: 1e-4, weightDecay: 0.1 } as const;
  const after = (firstSteps: RAdamFirstSteps, decoupledWeightDecay: boolean): number => {
    const state = optimizerState([2]);
    optimizerStep(state, [3], { ...adam, firstSteps, decoupledWeightDecay }, { t: 1, learningRate: 0.1 });
    return state.parameter[0]!;
  };
  expect(after('none', true)).toBe(2);
  expect(after('decayOnly', true)).toBeCloseTo(2 * 0.99, 14);
  expect(after('momentum', true)).toBeCloseTo(2 * 0.99 - 0.1 * 3, 14);
  expect(after('torch', true)).toBeCloseTo(2 * 0.99 - 0.1 * 3, 14);
  expect(after('torch', false)).toBeCloseTo(2 - 0.1 * 3.2, 14);
});

test('the first AdamW step moves by the learning rate against the sign, after decay', () => {
  const state = {
    parameter: Float64Array.of(1, -2),
    moment1: new Float64Array(2),
    moment2: new Float64Array(2),
  };
  const options = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 0, weightDecay: 0.1 };
  adamwStep(state, Float64Array.of(0.3, -5), 1, options);
  expect(state.parameter[0]).toBeCloseTo(1 * 0.999 - 0.01, 14);
  expect(state.parameter[1]).toBeCloseTo(-2 * 0.999 + 0.01, 14);
});

test('two AdamW steps, computed by hand', () => {
  const state = {
    parameter: Float64Array.of(0.5),
    moment1: new Float64Array(1),
    moment2: new Float64Array(1),
  };
  const options = { learningRate: 0.1, beta1: 0.5, beta2: 0.75, epsilon: 0.01, weightDecay: 0 };
  adamwStep(state, Float64Array.of(1), 1, options);
  adamwStep(state, Float64Array.of(-2), 2, options);
  const first = 0.5 - (0.1 * 1) / (1 + 0.01);
  const mean = (0.5 * 0.5 + 0.5 * -2) / 0.75;
  const root = Math.sqrt((0.75 * 0.25 + 0.25 * 4) / (1 - 0.75 ** 2));
  expect(state.parameter[0]).toBeCloseTo(first - (0.1 * mean) / (root + 0.01), 14);
});

test('gradient norm and clipping', () => {
  expect(gradientNorm([tensor([2], [3, 0]), tensor([1], [4])])).toBe(5);
  expect(clipFactor(5, 1)).toBeCloseTo(0.2, 6);
  expect(clipFactor(0.5, 1)).toBe(1);
  expect(clipFactor(5, 0)).toBe(1);
});

test('sinusoidal positions interleave sine and cosine', () => {
  const { data } = sinusoidalTable(3, 4);
  expect([...data.subarray(0, 4)]).toEqual([0, 1, 0, 1]);
  expect(data[8]).toBeCloseTo(Math.sin(2), 14);
  expect(data[11]).toBeCloseTo(Math.cos(2 / 100), 14);
});

describe('choose', () => {
  const at = { seed: 3, step: 0, site: 'choose' };

  test('temperature 0 takes the largest, ties to the lowest id', () => {
    expect(choose([0, 2, 2, 1], { ...at, temperature: 0 }).token).toBe(1);
  });

  test('samples follow the softmax', () => {
    const logits = [0, 1, 2, -1, 0.5];
    const probability = logSoftmax(tensor([1, 5], logits)).data.map(Math.exp);
    const counts = new Float64Array(5);
    const n = 4000;
    for (let step = 0; step < n; step++) counts[choose(logits, { ...at, step, temperature: 1 }).token]!++;
    // Five standard deviations of each binomial.
    counts.forEach((c, i) => {
      const p = probability[i]!;
      expect(Math.abs(c / n - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
    });
  });
});
