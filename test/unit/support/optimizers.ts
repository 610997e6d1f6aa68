import { gpt2 } from '../../../lib/models/gpt2';
import type {
  Batch,
  NativeModel,
  NativeModelOptions,
  OptimizerSettings,
  ParameterSettings,
  StateKind,
} from '../../../lib/native';
import { optimizerState, optimizerStep, type OptimizerState } from '../../oracles/optimizers';
import { expectClose } from './compare';
import { randomBatch, randomWeights } from './gpt2_cases';
import { batchOf, withModel, writeParameters } from './native';

const adam = { beta1: 0.9, beta2: 0.98, epsilon: 1e-4, weightDecay: 0.1 };
const radam = { type: 'radam', ...adam, decoupledWeightDecay: true } as const;
const sgd = { type: 'sgd', momentum: 0, nesterov: false, weightDecay: 0.1 } as const;

/** Every optimizer, and how many moments it keeps. */
export const optimizerCases: readonly (readonly [string, OptimizerSettings, number])[] = [
  ['adamw', { type: 'adamw', ...adam }, 2],
  ['adam', { type: 'adam', ...adam }, 2],
  ['sgd', sgd, 0],
  ['sgd with momentum', { ...sgd, momentum: 0.9 }, 1],
  ['sgd with Nesterov', { ...sgd, momentum: 0.9, nesterov: true }, 1],
  ['radam as torch', { ...radam, firstSteps: 'torch', decoupledWeightDecay: false }, 2],
  ['radam as torch, decoupled', { ...radam, firstSteps: 'torch' }, 2],
  ['radam, momentum first', { ...radam, firstSteps: 'momentum' }, 2],
  ['radam, decay first', { ...radam, firstSteps: 'decayOnly' }, 2],
  ['radam, nothing first', { ...radam, firstSteps: 'none' }, 2],
];

/** Widths that are padded, and parameters of less and of more than one chunk. */
export const optimizerGraph = gpt2({ vocabSize: 13, nPositions: 5, nEmbd: 22, nHead: 1, nLayer: 1 });
const capacity = { rows: 2, lengths: { time: 5 } };
const batchAt = (step: number): Batch => batchOf(optimizerGraph, randomBatch(optimizerGraph, 2, 5, step));
const moments: readonly StateKind[] = ['moment1', 'moment2'];

/** What a test changes: rates and momenta of the steps, and settings of single parameters. */
export interface Course {
  readonly model?: Partial<NativeModelOptions>;
  readonly learningRates?: Float32Array;
  readonly momenta?: Float32Array;
  readonly parameters?: Readonly<Record<string, ParameterSettings>>;
  readonly emaDecay?: number;
  /** Checks the model at the end. */
  readonly look?: (model: NativeModel, oracles: ReadonlyMap<string, OptimizerState>) => Promise<void>;
}

/**
 * Eight steps. In each, the oracle uses the gradients that native code computed, so that parameters and moments must match fp32
 * arithmetic in every precision of the model.
 */
export async function checkOptimizer(
  optimizer: OptimizerSettings,
  count: number,
  { model: options = {}, learningRates = new Float32Array(8).fill(0.01), ...course }: Course = {},
): Promise<void> {
  const { look, ...training } = course;
  await withModel(optimizerGraph, options, async (model) => {
    const weights = randomWeights(optimizerGraph);
    await writeParameters(model, weights);
    await model.configureTraining({
      optimizer,
      maxGradNorm: 0,
      labelSmoothing: 0,
      learningRates,
      ...training,
    });
    const oracles = new Map<string, OptimizerState>();
    for (const { name } of optimizerGraph.parameters)
      oracles.set(name, optimizerState(await model.readTensor('parameter', name)));
    for (let step = 0; step < 8; step++) {
      const { validTargets, applied } = await model.trainStep(capacity, [batchAt(step)]);
      expect(applied).toBe(true);
      for (const { name, decay } of optimizerGraph.parameters) {
        const own = course.parameters?.[name] ?? {};
        if (own.trainable === false) continue;
        // Gradients are seeded with 1 / positions.
        const scale = (capacity.rows * capacity.lengths.time) / validTargets;
        const gradient = (await model.readTensor('gradient', name)).map((g) => g * scale);
        const momentum = course.momenta?.[step];
        optimizerStep(oracles.get(name)!, gradient, optimizer, {
          t: step + 1,
          learningRate: learningRates[step]! * (own.learningRateScale ?? 1),
          weightDecay: own.weightDecay ?? (decay ? optimizer.weightDecay : 0),
          ...(momentum === undefined ? {} : { momentum }),
        });
      }
    }
    for (const [name, oracle] of oracles) {
      // Eight steps of about ten roundings of 2⁻²⁴ each; few have the same sign.
      expectClose(name, await model.readTensor('parameter', name), oracle.parameter, 1e-6);
      for (const [i, moment] of moments.slice(0, count).entries())
        expectClose(
          `${moment} of ${name}`,
          await model.readTensor(moment, name),
          i === 0 ? oracle.moment1 : oracle.moment2,
          1e-6,
        );
    }
    await look?.(model, oracles);
  });
}

/**
 * Checks that a frozen parameter has no gradient and does not change the gradients of others. Freezes each one alone, then all
 * others.
 */
export async function checkFreezing(
  options: Partial<NativeModelOptions>,
  // Other kernels may add in another order, such as for a bias that is not summed with its weight.
  tolerance = 1e-5,
): Promise<void> {
  const names = optimizerGraph.parameters.map(({ name }) => name);
  const [, optimizer] = optimizerCases[0]!;
  await withModel(optimizerGraph, options, async (model) => {
    const gradients = async (frozen: readonly string[]): Promise<Map<string, Float32Array>> => {
      await writeParameters(model, randomWeights(optimizerGraph));
      const parameters = Object.fromEntries(frozen.map((name) => [name, { trainable: false }]));
      const learningRates = Float32Array.of(0.01);
      await model.configureTraining({
        optimizer,
        maxGradNorm: 0,
        labelSmoothing: 0,
        learningRates,
        parameters,
      });
      await model.trainStep(capacity, [batchAt(0)]);
      const read = new Map<string, Float32Array>();
      for (const name of names) read.set(name, await model.readTensor('gradient', name));
      return read;
    };
    const whole = await gradients([]);
    const sets = names.flatMap((name) => [[name], names.filter((other) => other !== name)]);
    for (const frozen of sets) {
      for (const [name, gradient] of await gradients(frozen)) {
        if (frozen.includes(name)) expect(gradient.every((g) => g === 0)).toBe(true);
        else expectClose(`d(${name}) with ${frozen.join()} frozen`, gradient, whole.get(name)!, tolerance);
      }
    }
  });
}
