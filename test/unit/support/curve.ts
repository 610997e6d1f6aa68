import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Graph } from '../../../lib/graph/graph';
import type { Batch, NativeModel, NativeTrainingOptions } from '../../../lib/native';

const folder = path.resolve(__dirname, '../../fixtures');

interface CurveFile {
  readonly config: Readonly<Record<string, number | string | boolean>>;
  readonly training: Readonly<
    Record<
      | 'steps'
      | 'batch_size'
      | 'adam_beta1'
      | 'adam_beta2'
      | 'adam_epsilon'
      | 'weight_decay'
      | 'max_grad_norm'
      | 'learning_rate'
      | 'min_learning_rate'
      | 'warmup_steps',
      number
    >
  >;
  readonly learning_rates: readonly number[];
  readonly tensors: Readonly<Record<string, { shape: readonly number[]; offset: number }>>;
  readonly batches: { readonly shape: readonly [number, number, number]; readonly offset: number };
  readonly losses: readonly number[];
  readonly grad_norms: readonly number[];
  readonly initial_logits: readonly number[];
}

const bytes = readFileSync(path.join(folder, 'gpt2_curve.bin'));

/** 50 steps of a small GPT-2 that PyTorch made; see test/fixtures/make_gpt2_curve.py. */
export const curve = JSON.parse(readFileSync(path.join(folder, 'gpt2_curve.json'), 'utf8')) as CurveFile;

/** An initial weight in the Graph's layout: the files hold linear weights as [in, out]. */
export function initialWeight(graph: Graph, name: string): Float32Array {
  const { shape, offset } = curve.tensors[name]!;
  const [rows, columns] = [shape[0]!, shape[1] ?? 1];
  const transposed = graph.parameters.find((parameter) => parameter.name === name)?.transposedInFiles;
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = bytes.readInt16LE(offset + 2 * (row * columns + column)) / 2 ** 14;
      values[transposed ? column * rows + row : row * columns + column] = value;
    }
  }
  return values;
}

/** Rows [from, to) of a step's batch: tokens, and the tokens after them as targets. */
export function batchOfStep(step: number, from = 0, to = curve.batches.shape[1]): Batch {
  const [, rows, length] = curve.batches.shape;
  const tokens = new Int32Array((to - from) * (length - 1));
  const targets = new Int32Array(tokens.length);
  for (let row = from; row < to; row++) {
    for (let t = 0; t < length - 1; t++) {
      const at = curve.batches.offset + (step * rows + row) * length + t;
      tokens[(row - from) * (length - 1) + t] = bytes.readUInt8(at);
      targets[(row - from) * (length - 1) + t] = bytes.readUInt8(at + 1);
    }
  }
  return { tokens, targets };
}

/** PyTorch's defaults. */
export const lossScaling = { initScale: 2 ** 16, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2000 };

/** Gives a model the fixture's weights and optimizer, and loss scaling if it computes in fp16. */
export async function startCurve(
  model: NativeModel,
  graph: Graph,
  options: Partial<NativeTrainingOptions> = {},
): Promise<void> {
  for (const { name } of model.info.parameters) {
    await model.writeTensor('parameter', name, initialWeight(graph, name));
  }
  const { training: t } = curve;
  await model.configureTraining({
    optimizer: {
      type: 'adamw',
      beta1: t.adam_beta1,
      beta2: t.adam_beta2,
      epsilon: t.adam_epsilon,
      weightDecay: t.weight_decay,
    },
    maxGradNorm: t.max_grad_norm,
    labelSmoothing: 0,
    learningRates: Float32Array.from(curve.learning_rates),
    ...(model.info.precision === 'fp16' ? { lossScaling } : {}),
    ...options,
  });
}

/** Trains through the fixture's batches; the loss and the gradient's norm of each step. */
export async function followCurve(
  model: NativeModel,
  microBatches: number,
): Promise<{ losses: number[]; norms: number[] }> {
  const time = curve.batches.shape[2] - 1;
  const rows = curve.training.batch_size / microBatches;
  const losses: number[] = [];
  const norms: number[] = [];
  for (let step = 0; step < curve.training.steps; step++) {
    const batches = Array.from({ length: microBatches }, (_, i) =>
      batchOfStep(step, i * rows, (i + 1) * rows),
    );
    const result = await model.trainStep({ rows, lengths: { time } }, batches);
    expect(result.applied).toBe(true);
    expect(result.learningRate).toBe(curve.learning_rates[step]);
    losses.push(result.lossSum / result.validTargets);
    norms.push(result.gradNorm);
  }
  return { losses, norms };
}

/** The largest relative distance over the steps. */
export function distances(actual: readonly number[], expected: readonly number[]): number {
  return Math.max(...actual.map((value, i) => Math.abs(value / expected[i]! - 1)));
}
