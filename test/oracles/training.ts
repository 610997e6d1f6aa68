import type { Graph } from '../../lib/graph/graph';
import { adamwStep, type AdamWOptions, type AdamWState } from './adamw';
import { clipFactor, gradientNorm } from './gradient_norm';
import { runGraph } from './graph';
import { tensor, zerosOf, type Tensor } from './tensor';

export interface TrainingOptions extends AdamWOptions {
  readonly maxGradNorm: number;
  readonly labelSmoothing: number;
  readonly seed: number;
}

/** Trains a Graph with an output `loss` in double precision, one optimizer step at a time. */
export class OracleTrainer {
  private readonly states = new Map<string, AdamWState>();
  private steps = 0;

  constructor(
    private readonly graph: Graph,
    private readonly parameters: Map<string, Tensor>,
  ) {
    for (const [name, { shape, data }] of parameters) {
      const [moment1, moment2] = [zerosOf(shape).data, zerosOf(shape).data];
      this.states.set(name, { parameter: data, moment1, moment2 });
    }
  }

  /** A parameter's values and moments; they change in place. */
  state(name: string): AdamWState {
    return this.states.get(name)!;
  }

  /** One optimizer step: the mean gradient over the valid targets of all micro-batches, clipped, then AdamW. */
  step(
    microBatches: readonly ReadonlyMap<string, Tensor>[],
    options: TrainingOptions,
  ): { lossSum: number; valid: number; gradNorm: number; gradients: ReadonlyMap<string, Tensor> } {
    const loss = this.graph.outputs['loss']!;
    const trainable = this.graph.parameters.filter((parameter) => parameter.trainable ?? true);
    const sums = new Map(trainable.map(({ name }) => [name, zerosOf(this.parameters.get(name)!.shape)]));
    let lossSum = 0;
    let valid = 0;
    let firstSample = 0;
    for (const batch of microBatches) {
      const { values, gradients } = runGraph(
        this.graph,
        new Map([...this.parameters, ...batch]),
        new Map([[loss, tensor([1], [1])]]),
        {
          train: true,
          labelSmoothing: options.labelSmoothing,
          random: { seed: options.seed, attempted: this.steps, firstSample },
        },
      );
      lossSum += values.get(loss)!.data[0]!;
      valid += values.get(loss)!.data[1]!;
      for (const [name, sum] of sums) {
        gradients.get(name)?.data.forEach((g, i) => (sum.data[i]! += g));
      }
      firstSample += [...batch.values()][0]!.shape[0]!;
    }
    for (const { data } of sums.values()) data.forEach((g, i) => (data[i] = g / valid));
    const gradNorm = gradientNorm(sums.values());
    const clip = clipFactor(gradNorm, options.maxGradNorm);
    this.steps++;
    for (const { name, decay } of trainable) {
      const gradient = sums.get(name)!.data.map((g) => g * clip);
      const weightDecay = decay ? options.weightDecay : 0;
      adamwStep(this.state(name), gradient, this.steps, { ...options, weightDecay });
    }
    return { lossSum, valid, gradNorm, gradients: sums };
  }
}
