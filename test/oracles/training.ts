import type { Graph, ParameterSpec } from '../../lib/graph/graph';
import { adamwStep, type AdamWOptions, type AdamWState } from './adamw';
import { clipFactor, gradientNorm } from './gradient_norm';
import { runGraph } from './graph';
import { tensor, zerosOf, type Tensor } from './tensor';

export interface TrainingOptions extends AdamWOptions {
  readonly maxGradNorm: number;
  readonly labelSmoothing: number;
  readonly seed: number;
}

/** What one loss adds up to over the micro-batches of a step. */
interface LossSums {
  sum: number;
  valid: number;
  readonly gradients: ReadonlyMap<string, Tensor>;
}

/** Trains a Graph in double precision, one optimizer step at a time. */
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

  /**
   * One optimizer step: for each loss the mean gradient over the valid targets of all micro-batches, their weighted sum,
   * clipped, then AdamW.
   */
  step(
    microBatches: readonly ReadonlyMap<string, Tensor>[],
    options: TrainingOptions,
  ): {
    lossSum: number;
    valid: number;
    losses: readonly { readonly sum: number; readonly validTargets: number }[];
    gradNorm: number;
    gradients: ReadonlyMap<string, Tensor>;
  } {
    const trainable = this.graph.parameters.filter((parameter) => parameter.trainable ?? true);
    const gradients = this.zeroGradients(trainable);
    const losses = this.graph.losses ?? [{ output: 'loss', weight: 1 }];
    const sums = losses.map(({ output, weight }) => {
      const of = this.lossSums(this.graph.outputs[output]!, microBatches, trainable, options);
      for (const [name, { data }] of of.gradients) {
        if (of.valid > 0) data.forEach((g, i) => (gradients.get(name)!.data[i]! += (weight * g) / of.valid));
      }
      return of;
    });
    const gradNorm = gradientNorm(gradients.values());
    const clip = clipFactor(gradNorm, options.maxGradNorm);
    this.steps++;
    for (const { name, decay } of trainable) {
      const gradient = gradients.get(name)!.data.map((g) => g * clip);
      const weightDecay = decay ? options.weightDecay : 0;
      adamwStep(this.state(name), gradient, this.steps, { ...options, weightDecay });
    }
    const reported = sums.map(({ sum, valid }) => ({ sum, validTargets: valid }));
    return { lossSum: sums[0]!.sum, valid: sums[0]!.valid, losses: reported, gradNorm, gradients };
  }

  private zeroGradients(parameters: readonly ParameterSpec[]): Map<string, Tensor> {
    return new Map(parameters.map(({ name }) => [name, zerosOf(this.parameters.get(name)!.shape)]));
  }

  private lossSums(
    loss: string,
    microBatches: readonly ReadonlyMap<string, Tensor>[],
    trainable: readonly ParameterSpec[],
    options: TrainingOptions,
  ): LossSums {
    const sums = { sum: 0, valid: 0, gradients: this.zeroGradients(trainable) };
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
      sums.sum += values.get(loss)!.data[0]!;
      sums.valid += values.get(loss)!.data[1]!;
      for (const [name, sum] of sums.gradients) {
        gradients.get(name)?.data.forEach((g, i) => (sum.data[i]! += g));
      }
      firstSample += [...batch.values()][0]!.shape[0]!;
    }
    return sums;
  }
}
