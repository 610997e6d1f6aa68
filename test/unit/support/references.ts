import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Graph } from '../../../lib/graph/graph';
import { gpt2 } from '../../../lib/models/gpt2';
import type { Batch, Capacity, NativeModel } from '../../../lib/native';
import { encoderDecoder, type EncoderDecoderConfig } from './encoder_decoder';

/** A tensor's place in the .bin file, in bytes. */
interface Place {
  readonly shape: readonly number[];
  readonly offset: number;
}

interface ModelOfFile {
  readonly config: object;
  readonly weights: Readonly<Record<string, Place>>;
  readonly gradients: Readonly<Record<string, Place>>;
  /** Of all steps: (steps, rows, …). */
  readonly batches: Readonly<Record<string, Place>>;
  /** Of each step, by the role of the loss. */
  readonly losses: Readonly<Record<string, readonly number[]>>;
  readonly grad_norms: readonly number[];
}

interface ReferenceFile {
  readonly training: {
    readonly adam_beta1: number;
    readonly adam_beta2: number;
    readonly adam_epsilon: number;
    readonly weight_decay: number;
    readonly max_grad_norm: number;
    readonly learning_rates: readonly number[];
  };
  readonly models: Readonly<Record<'post_norm' | 'types' | 'encoder' | 'encoder_decoder', ModelOfFile>>;
}

const folder = path.resolve(__dirname, '../../fixtures');
const bytes = readFileSync(path.join(folder, 'model_references.bin'));
const file = JSON.parse(readFileSync(path.join(folder, 'model_references.json'), 'utf8')) as ReferenceFile;
const { training, models } = file;

/** A small model as PyTorch trained it; see test/fixtures/make_model_references.py. */
export type Reference = ModelOfFile & {
  readonly graph: Graph;
  readonly lengths: Capacity['lengths'];
  readonly rows: number;
};

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function referenceOf(model: ModelOfFile, graph: Graph): Reference {
  const lengths: Record<string, number> = {};
  for (const { name, axes } of graph.inputs) {
    const place = model.batches[name];
    if (place && axes.length > 1) lengths[axes[1]!] = place.shape[2]!;
  }
  return { ...model, graph, lengths, rows: Object.values(model.batches)[0]!.shape[1]! };
}

/** The models by name, with our Graphs for them. */
export const references: readonly (readonly [string, Reference])[] = [
  ['a GPT-2 with the norms after', referenceOf(models.post_norm, gpt2(models.post_norm.config))],
  ['a GPT-2 with types and subtypes', referenceOf(models.types, gpt2(models.types.config))],
  ['an encoder with padding', referenceOf(models.encoder, gpt2(models.encoder.config))],
  [
    'an encoder and a decoder, two losses',
    referenceOf(
      models.encoder_decoder,
      encoderDecoder(models.encoder_decoder.config as EncoderDecoderConfig),
    ),
  ],
];

/** The gradient of a parameter in the first step, before clipping. */
export function gradientOf(reference: Reference, name: string): Float32Array {
  const { shape, offset } = reference.gradients[name]!;
  return Float32Array.from({ length: elements(shape) }, (_, i) => bytes.readFloatLE(offset + 4 * i));
}

/** Rows [from, to) of a step's batch. */
export function batchOfStep(reference: Reference, step: number, from = 0, to = reference.rows): Batch {
  const arrays = Object.entries(reference.batches).map(([name, { shape, offset }]) => {
    const size = elements(shape.slice(2));
    const first = offset + 2 * (step * reference.rows + from) * size;
    return [
      name,
      Int32Array.from({ length: (to - from) * size }, (_, i) => bytes.readInt16LE(first + 2 * i)),
    ];
  });
  return Object.fromEntries(arrays) as Batch;
}

/** Gives a model the reference's weights and optimizer, and loss scaling where it computes in fp16. */
export async function startReference(model: NativeModel, reference: Reference): Promise<void> {
  for (const [name, { shape, offset }] of Object.entries(reference.weights)) {
    const weight = Float32Array.from(
      { length: elements(shape) },
      (_, i) => bytes.readInt16LE(offset + 2 * i) / 2 ** 14,
    );
    await model.writeTensor('parameter', name, weight);
  }
  // Gradients of so few positions are large: PyTorch's first scale of 2¹⁶ could overflow, which skips a step.
  const lossScaling = { initScale: 2 ** 10, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2000 };
  await model.configureTraining({
    optimizer: {
      type: 'adamw',
      beta1: training.adam_beta1,
      beta2: training.adam_beta2,
      epsilon: training.adam_epsilon,
      weightDecay: training.weight_decay,
    },
    maxGradNorm: training.max_grad_norm,
    labelSmoothing: 0,
    learningRates: Float32Array.from(training.learning_rates),
    ...(model.info.precision === 'fp16' ? { lossScaling } : {}),
  });
}

/** The roles of a Graph's losses, in the order of a step's results. */
const rolesOf = ({ losses }: Graph): string[] => losses?.map(({ output }) => output) ?? ['loss'];

/** Trains through the reference's batches; each loss and the gradient's norm of each step. */
export async function followReference(
  model: NativeModel,
  reference: Reference,
  microBatches: number,
): Promise<{ losses: Record<string, number[]>; norms: number[] }> {
  const { graph, lengths } = reference;
  const rows = reference.rows / microBatches;
  const roles = rolesOf(graph);
  const losses: Record<string, number[]> = Object.fromEntries(roles.map((role) => [role, []]));
  const norms: number[] = [];
  for (let step = 0; step < training.learning_rates.length; step++) {
    const batches = Array.from({ length: microBatches }, (_, i) =>
      batchOfStep(reference, step, i * rows, (i + 1) * rows),
    );
    const result = await model.trainStep({ rows, lengths }, batches);
    expect(result.applied).toBe(true);
    roles.forEach((role, i) => {
      const { sum, validTargets } = result.losses[i]!;
      losses[role]!.push(sum / validTargets);
    });
    norms.push(result.gradNorm);
  }
  return { losses, norms };
}

/** The gradients of the first step. */
export async function firstGradients(
  model: NativeModel,
  reference: Reference,
): Promise<Map<string, Float32Array>> {
  const { graph, rows, lengths } = reference;
  const batch = batchOfStep(reference, 0);
  await model.run({ mode: 'train', rows, lengths }, batch);
  // A program with one loss divides its gradients by all targets; the step then divides them by the valid ones.
  const targets = Array.from(batch['targets'] ?? []);
  const scale =
    rolesOf(graph).length > 1 ? 1 : targets.length / targets.filter((target) => target >= 0).length;
  const gradients = new Map<string, Float32Array>();
  for (const name of Object.keys(reference.gradients)) {
    const gradient = await model.readTensor('gradient', name);
    gradients.set(
      name,
      gradient.map((value) => value * scale),
    );
  }
  return gradients;
}
