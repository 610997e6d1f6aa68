import { NativeModel, type OptimizerSettings, type Precision } from '../../lib/native';
import { padded, sessionOf, settingsOf } from '../unit/support/sampling';
import { graph, shape } from './cases';

const ids = (seed: number): Int32Array =>
  Int32Array.from({ length: shape.rows * shape.lengths.time }, (_, i) => (i * 7 + seed) % 61);

/** Those whose updates are kernels of their own. */
const optimizers: readonly OptimizerSettings[] = [
  { type: 'sgd', momentum: 0, nesterov: false, weightDecay: 0.1 },
  { type: 'sgd', momentum: 0.9, nesterov: true, weightDecay: 0.1 },
  { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
];

/** The kernels that op_run does not run: optimizer steps and sampling. */
export async function trainAndSample(device: string, precision: Precision): Promise<void> {
  const model = await NativeModel.create(graph, { device, precision, seed: 1 });
  for (const optimizer of optimizers) {
    await model.configureTraining({
      optimizer,
      maxGradNorm: 1,
      labelSmoothing: 0,
      emaDecay: 0.9,
      learningRates: Float32Array.of(1e-3, 1e-4),
    });
    for (let step = 0; step < 3; step++) {
      const batches = [0, 1].map((i) => ({ tokens: ids(step + i), targets: ids(step + i + 1) }));
      const { lossSum } = await model.trainStep(shape, batches);
      if (!Number.isFinite(lossSum)) throw new Error(`the loss of step ${step} is ${lossSum}`);
    }
  }
  const everything = { topK: 9, topP: 0.9, repetitionPenalty: 1.1, noRepeatNgramSize: 2, minNewTokens: 2 };
  const session = await sessionOf(model, [0, 1], {
    cache: 12,
    settings: [settingsOf({ temperature: 0 }), settingsOf(everything)],
    endTokens: [3],
    features: { filter: true, penalties: true, ngrams: true, minimum: true, logProbs: 5 },
  });
  await session.prefill(
    ...padded([
      [1, 2, 3],
      [4, 5],
    ]),
  );
  await session.decode(4);
  session.dispose();
  model.dispose();
}
