import { TesseraeError } from '../errors';
import { packBatch, type Capacity, type PackedBatch, type TrainingBatch } from '../models/inputs';
import type { Model } from '../models/model';
import type { StepResult } from '../native';
import { ratesOf, type ResolvedTrainingArguments } from './arguments';

/** What one optimizer step did. */
export interface OptimizationStep extends StepResult {
  /** Tokens that were read, padding left out. */
  readonly tokens: number;
}

/** Which trainer's optimizer the moments of a model belong to. */
const owners = new WeakMap<Model, Optimization>();

/** Applies optimizer steps to a model: sets the optimizer up at the first one and checks what comes back. */
export class Optimization {
  private ready: Promise<void> | undefined;

  constructor(
    private readonly model: Model,
    private readonly args: ResolvedTrainingArguments,
    private readonly rates = ratesOf(args),
  ) {}

  /**
   * One step over micro-batches.
   *
   * @param step - its number, from 1, for messages.
   * @param capacity - the programs'; default: what the batches need.
   * @throws TesseraeError `ERR_NON_FINITE` for a loss or a gradient that is not finite, and `ERR_DATA` when no target has
   * a loss; in both cases the weights are as before.
   */
  async step(
    batches: readonly TrainingBatch[],
    step: number,
    capacity?: Capacity,
  ): Promise<OptimizationStep> {
    const packed = packAlike(this.model, batches, capacity);
    await this.prepare();
    const common = packed[0]?.capacity ?? { rows: 0, time: 0 };
    const result = await this.model.native.trainStep(
      common,
      packed.map(({ inputs }) => inputs),
    );
    this.check(result, step);
    return { ...result, tokens: packed.flatMap(({ lengths }) => lengths).reduce((a, b) => a + b, 0) };
  }

  private prepare(): Promise<void> {
    if (this.ready && owners.get(this.model) !== this)
      throw new TesseraeError(
        'ERR_BUSY',
        'another trainer has trained this model since: its optimizer is no longer this one; create a new Trainer',
      );
    this.ready ??= this.configure().catch((error: unknown) => {
      this.ready = undefined;
      throw error;
    });
    return this.ready;
  }

  private async configure(): Promise<void> {
    const { native, graph } = this.model;
    const { args } = this;
    await native.configureTraining({
      optimizer: {
        type: 'adamw',
        beta1: args.adamBeta1,
        beta2: args.adamBeta2,
        epsilon: args.adamEpsilon,
        weightDecay: args.weightDecay,
      },
      maxGradNorm: args.maxGradNorm,
      labelSmoothing: args.labelSmoothing,
      learningRates: this.rates,
    });
    owners.set(this.model, this);
    if ((await native.counters()).attempted === 0) return;
    // An earlier trainer's moments and schedule are not this one's.
    const sizes = new Map(native.info.parameters.map(({ name, shape }) => [name, shape]));
    for (const { name, trainable } of graph.parameters) {
      if (trainable === false) continue;
      const zeros = new Float32Array((sizes.get(name) ?? []).reduce((a, b) => a * b, 1));
      await native.writeTensor('moment1', name, zeros);
      await native.writeTensor('moment2', name, zeros);
    }
    await native.setCounters({ attempted: 0, applied: 0 });
  }

  private check(result: StepResult, step: number): void {
    const { lossSum, validTargets, gradNorm, learningRate, applied } = result;
    if (validTargets === 0)
      throw new TesseraeError('ERR_DATA', `no target of step ${step} has a loss: all are ignored`, {
        details: { step },
      });
    const loss = lossSum / validTargets;
    // Under fp16's dynamic loss scaling a gradient may overflow now and then: that step is skipped.
    const overflow = this.model.precision === 'fp16' && !applied && Number.isFinite(loss);
    if ((Number.isFinite(loss) && Number.isFinite(gradNorm)) || overflow) return;
    const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
    throw new TesseraeError(
      'ERR_NON_FINITE',
      `the ${what} at step ${step} (learning rate ${Number(learningRate.toPrecision(4))}): the step was not applied. ` +
        `Lower learningRate, lengthen warmupSteps, or clip more with maxGradNorm`,
      { details: { step, loss, gradNorm, learningRate } },
    );
  }
}

/** Packs micro-batches for one capacity: that given, or the least that holds each of them. */
function packAlike(model: Model, batches: readonly TrainingBatch[], capacity?: Capacity): PackedBatch[] {
  if (batches.length === 0)
    throw new TesseraeError('ERR_DATA', 'a step needs at least one batch, but none was given');
  const pack = (batch: TrainingBatch, into?: Capacity): PackedBatch =>
    packBatch(model, batch, { targets: true, ...(into === undefined ? {} : { capacity: into }) });
  const packed = batches.map((batch) => pack(batch, capacity));
  const common = {
    rows: Math.max(...packed.map((one) => one.capacity.rows)),
    time: Math.max(...packed.map((one) => one.capacity.time)),
  };
  return packed.map((one, i) => {
    const batch = batches[i];
    const fits = one.capacity.rows === common.rows && one.capacity.time === common.time;
    return fits || !batch ? one : pack(batch, common);
  });
}
