/** Models that several ranks train, each a thread of this process. */
import type { Graph } from '../../../lib/graph/graph';
import type { Batch, Capacity, NativeTrainingOptions, RankShare, StepResult } from '../../../lib/native';
import { NativeModel } from '../../../lib/native';
import { randomWeights } from '../support/gpt2_cases';
import { SEED, writeParameters } from '../support/native';

export const rankNames = (ranks: number): string[] => Array.from({ length: ranks }, (_, i) => `cpu:${i}`);

/** Passes on a model on so many ranks, ready to train; disposes it in the end. */
export async function withRanks<T>(
  graph: Graph,
  ranks: number,
  options: Partial<NativeTrainingOptions>,
  use: (model: NativeModel) => Promise<T>,
): Promise<T> {
  const common = { device: 'cpu', precision: 'fp32', seed: SEED, threads: 1 } as const;
  const model = await NativeModel.create(graph, common, ranks === 1 ? ['cpu'] : rankNames(ranks));
  try {
    await writeParameters(model, randomWeights(graph));
    await model.configureTraining({
      optimizer: { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-4, weightDecay: 0.1 },
      maxGradNorm: 1,
      labelSmoothing: 0,
      learningRates: Float32Array.of(1e-2),
      ...options,
    });
    return await use(model);
  } finally {
    model.dispose();
  }
}

/**
 * A step over these micro-batches, which the ranks take in turn; on one rank, a step that accumulates all of them. Random
 * numbers are the same for any number of ranks.
 */
export async function stepOver(
  model: NativeModel,
  capacity: Capacity,
  microBatches: readonly Batch[],
): Promise<StepResult> {
  const ranks = model.devices.length;
  const shares: RankShare[] = model.devices.map((_, rank) => {
    const mine = microBatches.flatMap((batch, i) => (i % ranks === rank ? [{ batch, i }] : []));
    return {
      microBatches: mine.map(({ batch }) => batch),
      firstSamples: mine.map(({ i }) => i * capacity.rows),
    };
  });
  return model.trainRanks(capacity, shares);
}

/** Every bit of the State's tensors on a rank. */
export async function bitsOfRank(model: NativeModel, rank: number, withEma = false): Promise<string[]> {
  const kinds = ['parameter', 'moment1', 'moment2', ...(withEma ? (['ema'] as const) : [])] as const;
  const bits: string[] = [];
  for (const { name } of model.info.parameters)
    for (const kind of kinds) {
      const values = await model.readTensor(kind, name, 'logical', rank);
      bits.push(`${kind} ${name} ${Buffer.from(values.buffer).toString('base64')}`);
    }
  return bits;
}
