import type { Graph, IdsInput } from '../../../lib/graph/graph';
import { resolveModelConfig } from '../../../lib/models/families';
import { packBatch, type TrainingBatch } from '../../../lib/models/inputs';
import type { NativeModelOptions, StepResult } from '../../../lib/native';
import { randomWeights } from './gpt2_cases';
import { withModel, writeParameters } from './native';
import { Random } from './random';

/** Tokens of the documents of each row: one alone, of one token, of all of a row. */
const rows = [[5, 3, 2], [1, 1, 8], [11], [4, 7]] as const;
const time = 11;
const steps = 3;

const isEncoder = (graph: Graph): boolean => graph.inputs.some(({ name }) => name === 'lengths');

/** The same documents, several in a row and each in a row of its own. An encoder needs targets, others get the default. */
function batchesOf(graph: Graph): { packed: TrainingBatch; padded: TrainingBatch } {
  const random = new Random(11);
  const idsOf = (lengths: readonly number[], below: number): number[][] =>
    lengths.map((n) => Array.from({ length: n }, () => random.integer(below)));
  const inputs = graph.inputs
    .filter((input): input is IdsInput => input.kind === 'ids')
    .filter(({ name }) => name !== 'targets' || isEncoder(graph))
    .map(({ name, below }) => [name, rows.map((lengths) => idsOf(lengths, below))] as const);
  const batch = (layOut: (documents: number[][][]) => number[][]): TrainingBatch =>
    Object.fromEntries(
      inputs.map(([name, documents]) => [name, layOut(documents)]),
    ) as unknown as TrainingBatch;
  const documentStarts = rows.map((lengths) =>
    lengths.map((_, i) => lengths.slice(0, i).reduce((sum, n) => sum + n, 0)),
  );
  return {
    packed: { ...batch((documents) => documents.map((row) => row.flat())), documentStarts },
    padded: batch((documents) => documents.flat()),
  };
}

/** The results of training steps on a batch, and the last step's gradients of the summed loss. */
export interface Trained {
  readonly results: readonly StepResult[];
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Steps at a learning rate of zero, so that all are equal. A GPU replays the last of them. */
async function train(
  graph: Graph,
  batch: TrainingBatch,
  options: Partial<NativeModelOptions>,
): Promise<Trained> {
  const config = resolveModelConfig({ type: 'gpt2', nPositions: time, isEncoder: isEncoder(graph) });
  return withModel(graph, options, async (model) => {
    await writeParameters(model, randomWeights(graph));
    await model.configureTraining({
      optimizer: { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
      maxGradNorm: 0,
      labelSmoothing: 0,
      learningRates: Float32Array.of(0),
    });
    const capacity = { rows: batch.tokens.length, lengths: { time } };
    const packed = packBatch({ graph, config }, batch, { targets: true, capacity });
    const results: StepResult[] = [];
    for (let step = 0; step < steps; step++)
      results.push(await model.trainStep(packed.capacity, [packed.inputs]));
    const gradients = new Map<string, Float32Array>();
    for (const { name, trainable } of graph.parameters) {
      if (trainable === false) continue;
      // Gradients in memory are those of the sum over targets ÷ positions of the step.
      const gradient = await model.readTensor('gradient', name);
      gradients.set(
        name,
        gradient.map((value) => value * capacity.rows * time),
      );
    }
    return { results, gradients };
  });
}

/** Trains a model on documents that share rows, and on the same documents with a row each. */
export async function packedAndPadded(
  graph: Graph,
  options: Partial<NativeModelOptions> = {},
): Promise<{ packed: Trained; padded: Trained }> {
  const { packed, padded } = batchesOf(graph);
  return { packed: await train(graph, packed, options), padded: await train(graph, padded, options) };
}
