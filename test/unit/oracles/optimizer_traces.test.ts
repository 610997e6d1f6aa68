import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { OptimizerSettings } from '../../../lib/native';
import { momentumSchedule, learningRateSchedule } from '../../../lib/training/schedules';
import { crossEntropy } from '../../oracles/cross_entropy';
import { optimizerState, optimizerStep } from '../../oracles/optimizers';
import { tensor } from '../../oracles/tensor';

interface Trace {
  readonly parameters: readonly (readonly number[])[];
  readonly moments: Readonly<Record<'exp_avg' | 'exp_avg_sq' | 'momentum_buffer', readonly number[]>>;
}

interface Cycle extends Trace {
  readonly rates: readonly number[];
  readonly momenta: readonly number[];
}

/** See test/fixtures/make_optimizer_traces.py. */
const fixture = JSON.parse(
  readFileSync(path.resolve(__dirname, '../../fixtures/optimizer_traces.json'), 'utf8'),
) as {
  readonly settings: Readonly<
    Record<'learning_rate' | 'weight_decay' | 'beta1' | 'beta2' | 'epsilon' | 'momentum', number>
  >;
  readonly initial: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly traces: Readonly<Record<string, Trace>>;
  readonly cycles: Readonly<Record<string, Cycle>>;
  readonly label_smoothing: number;
};

const { learning_rate: learningRate, weight_decay: weightDecay, ...s } = fixture.settings;
const adam = { beta1: s.beta1, beta2: s.beta2, epsilon: s.epsilon, weightDecay };
const radam = { type: 'radam', ...adam, firstSteps: 'torch' } as const;
const sgd = { type: 'sgd', momentum: s.momentum, nesterov: false, weightDecay } as const;

// Both compute in fp64; twelve steps leave a few of its roundings.
const digits = 13;
const close = (actual: ArrayLike<number>, expected: readonly number[]): void =>
  expected.forEach((value, i) => expect(actual[i]).toBeCloseTo(value, digits));

test.each<[string, OptimizerSettings]>([
  ['adamw', { type: 'adamw', ...adam }],
  ['adam', { type: 'adam', ...adam }],
  ['sgd', { ...sgd, momentum: 0 }],
  ['sgd momentum', sgd],
  ['sgd nesterov', { ...sgd, nesterov: true }],
  ['radam', { ...radam, decoupledWeightDecay: false }],
  ['radam decoupled', { ...radam, decoupledWeightDecay: true }],
])('%s moves as PyTorch’s does', (name, optimizer) => {
  const { parameters, moments } = fixture.traces[name]!;
  const state = optimizerState(fixture.initial);
  fixture.gradients.forEach((gradient, step) => {
    optimizerStep(state, gradient, optimizer, { t: step + 1, learningRate });
    close(state.parameter, parameters[step]!);
  });
  const { exp_avg: first, exp_avg_sq: second, momentum_buffer: buffer } = moments;
  if (first ?? buffer) close(state.moment1, first ?? buffer);
  if (second) close(state.moment2, second);
});

test.each<[string, OptimizerSettings, object]>([
  ['adam', { type: 'adam', ...adam, weightDecay: 0 }, { pctStart: 0.3 }],
  [
    'sgd nesterov',
    { ...sgd, nesterov: true, weightDecay: 0 },
    { pctStart: 0.4, threePhase: true, annealStrategy: 'linear' },
  ],
])('%s along one cycle moves as PyTorch’s does', (name, optimizer, kwargs) => {
  const { parameters, rates, momenta } = fixture.cycles[name]!;
  const options = {
    type: 'oneCycle',
    learningRate,
    minLearningRate: 0,
    warmupSteps: 0,
    maxSteps: fixture.gradients.length + 1,
    kwargs: { cycleMomentum: true, ...kwargs },
  } as const;
  // The tables are fp32.
  rates.forEach((rate, i) => expect(learningRateSchedule(options)[i]).toBeCloseTo(rate, 8));
  momenta.forEach((momentum, i) => expect(momentumSchedule(options)![i]).toBeCloseTo(momentum, 6));
  const state = optimizerState(fixture.initial);
  fixture.gradients.forEach((gradient, step) => {
    const now = { t: step + 1, learningRate: rates[step]!, momentum: momenta[step]! };
    optimizerStep(state, gradient, optimizer, now);
    close(state.parameter, parameters[step]!);
  });
});

test('uniform label smoothing is PyTorch’s', () => {
  const logits = tensor([1, 1, 5], [0.1, 0.2, 0.3, 0.15, 0.25].map(Math.log));
  const { sum } = crossEntropy(logits, tensor([1, 1], [2]), { ignoreIndex: -100, labelSmoothing: 0.1 });
  expect(sum).toBeCloseTo(fixture.label_smoothing, digits);
});
