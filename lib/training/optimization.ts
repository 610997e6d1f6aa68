import { isDeepStrictEqual } from 'node:util';
import type { TrainerState } from '../checkpoint/trainer_state';
import type { OptimizerTensors } from '../checkpoint/weights';
import { TesseraeError } from '../errors';
import { classesOf } from '../graph/losses';
import { reading } from '../models/array_likes';
import { Capacities, capacityOfAll } from '../models/capacities';
import { lengthLimits } from '../models/families';
import { packBatch, type Capacity, type StepBatch } from '../models/inputs';
import type { Model } from '../models/model';
import { isPacked, type ReadyBatch } from '../models/packed_batch';
import type { ParameterSettings, StepResult } from '../native';
import { momentaOf, ratesOf, type ResolvedTrainingArguments } from './arguments';
import { kernelSmoothing } from './label_smoothing';
import { DEFAULT_LOSS_SCALING, type LossScaling } from './loss_scaling';
import { momentsOf, nativeOptimizer } from './optimizer_settings';
import { parameterSettings, trainedNames } from './parameter_groups';

/** What one optimizer step did. */
export interface OptimizationStep extends StepResult {
  /** Tokens that were read, padding left out. */
  readonly tokens: number;
  /**
   * Why training can't go on: `ERR_NON_FINITE` for a loss or a gradient that is not finite, `ERR_DATA` when no target has
   * a loss. The step was tried, and changed no weight.
   */
  readonly failure?: TesseraeError;
}

/** Which trainer's optimizer the moments of a model belong to. */
const owners = new WeakMap<Model, Optimization>();

/** Applies optimizer steps to a model: sets the optimizer up at the first one and checks what comes back. */
export class Optimization {
  private ready: Promise<void> | undefined;
  private configured = false;
  private readonly capacities: Capacities;
  private readonly scaling: Required<LossScaling> | undefined;
  private readonly parameters: Record<string, ParameterSettings>;
  private readonly labelSmoothing: number;

  constructor(
    private readonly model: Model,
    private readonly args: ResolvedTrainingArguments,
    private readonly rates = ratesOf(args),
    private readonly momenta = momentaOf(args),
  ) {
    this.capacities = new Capacities(lengthLimits(model.config));
    this.parameters = parameterSettings(args.parameterGroups ?? [], trainedNames(model.graph));
    this.labelSmoothing = kernelSmoothing(args, classesOf(model.graph));
    if (model.precision === 'fp16') this.scaling = args.lossScaling ?? DEFAULT_LOSS_SCALING;
    else if (args.lossScaling)
      throw new TesseraeError(
        'ERR_CONFIG',
        `lossScaling is for models in fp16, but this one computes in ${model.precision}: leave it out`,
        { details: { path: 'lossScaling' } },
      );
  }

  /**
   * One step over micro-batches. Two may be under way, the second of which starts without knowing how the first ended.
   *
   * @param step - its number, from 1, for messages.
   * @param capacity - the program's; default: one of at most eight, for which batches of other sizes are padded.
   * @throws TesseraeError `ERR_DATA` or `ERR_SHAPE` for batches that can't be packed, and what native code throws: such a
   * step was not tried.
   */
  async step(
    batches: readonly StepBatch[],
    step: number,
    capacity: Capacity | Capacities = this.capacities,
  ): Promise<OptimizationStep> {
    const packed = packAlike(this.model, batches, capacity);
    await this.prepare();
    const common = packed[0]?.capacity ?? { rows: 0, lengths: {} };
    const result = await this.model.native.trainStep(
      common,
      packed.map(({ inputs }) => inputs),
      packed.map(({ lengths }) => lengths.length),
    );
    const failure = this.failureOf(result, step);
    return {
      ...result,
      tokens: packed.reduce((sum, { lengths }) => sum + sumOf(lengths), 0),
      ...(failure ? { failure } : {}),
    };
  }

  /** What checkpoints hold of the optimizer beside `state()`. */
  get tensors(): OptimizerTensors {
    return { moments: momentsOf(this.args), ema: this.args.emaDecay > 0 };
  }

  /**
   * Counters and loss scaler for a checkpoint; undefined before the first step, when moments are not there yet.
   *
   * @throws TesseraeError `ERR_BUSY` when another trainer has trained the model since.
   */
  async state(): Promise<TrainerState['optimizer']> {
    if (!this.ready) return undefined;
    await this.prepare();
    const { native } = this.model;
    return { ...(await native.counters()), lossScaler: await native.scaler() };
  }

  /**
   * Sets the optimizer up as it was when a checkpoint was written; nothing is left of what it did before.
   *
   * @param state - as `state()` gave it.
   * @param with.loadTensors - writes moments and moving average, once there is memory for them.
   * @param with.lossScaler - whether the loss scaler becomes what it was: it is of its precision.
   */
  async restore(
    state: TrainerState['optimizer'],
    { loadTensors, lossScaler }: { readonly loadTensors: () => Promise<void>; readonly lossScaler: boolean },
  ): Promise<void> {
    this.ready = undefined;
    if (!state) return;
    await this.prepare();
    await loadTensors();
    const { attempted, applied } = state;
    await this.model.native.setCounters({ attempted, applied });
    if (lossScaler) await this.model.native.setScaler(state.lossScaler);
  }

  private prepare(): Promise<void> {
    if (this.configured && owners.get(this.model) !== this)
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
    const { native } = this.model;
    const { args } = this;
    await native.configureTraining({
      optimizer: nativeOptimizer(args),
      parameters: this.parameters,
      maxGradNorm: args.maxGradNorm,
      labelSmoothing: this.labelSmoothing,
      emaDecay: args.emaDecay,
      learningRates: this.rates,
      ...(this.momenta === undefined ? {} : { momenta: this.momenta }),
      ...(this.scaling === undefined ? {} : { lossScaling: withoutLimit(this.scaling) }),
    });
    owners.set(this.model, this);
    this.configured = true;
  }

  /** Why training can't go on after a step; undefined if it can. */
  private failureOf(result: StepResult, step: number): TesseraeError | undefined {
    const { losses, gradNorm, learningRate, applied, lossScale, skippedInRow } = result;
    const counted = losses.filter(({ validTargets }) => validTargets > 0);
    const [first] = counted;
    if (!first)
      return new TesseraeError('ERR_DATA', `no target of step ${step} has a loss: all are ignored`, {
        details: { step },
      });
    const means = counted.map(({ sum, validTargets }) => sum / validTargets);
    const loss = means.find((mean) => !Number.isFinite(mean)) ?? first.sum / first.validTargets;
    const rate = Number(learningRate.toPrecision(4));
    const details = { step, loss, gradNorm, learningRate };
    if (this.scaling && !applied && Number.isFinite(loss)) {
      // An overflow of fp16: the scale was halved, and the next step may fit.
      if (skippedInRow < this.scaling.maxSkippedSteps) return undefined;
      return new TesseraeError(
        'ERR_NON_FINITE',
        `${skippedInRow} steps in a row up to step ${step} were skipped, because their gradients were not finite in fp16 ` +
          `though the loss scale fell to ${lossScale} (loss ${loss.toPrecision(4)}, learning rate ${rate}). Lower ` +
          `learningRate, lengthen warmupSteps, or train in bf16`,
        { details: { ...details, lossScale, skippedInRow } },
      );
    }
    if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return undefined;
    const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
    return new TesseraeError(
      'ERR_NON_FINITE',
      `the ${what} at step ${step} (learning rate ${rate}): the step was not applied. ` +
        `Lower learningRate, lengthen warmupSteps, or clip more with maxGradNorm`,
      { details },
    );
  }
}

/** What the device needs of it: how many skipped steps are too many is decided here. */
function withoutLimit({
  maxSkippedSteps: _,
  ...scaling
}: Required<LossScaling>): Omit<Required<LossScaling>, 'maxSkippedSteps'> {
  return scaling;
}

const sumOf = (values: Int32Array | readonly number[]): number => {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
};

/**
 * Packs micro-batches for one capacity: that given, that of those which are packed already, or one of those given that holds
 * each of them; with documents if one of them has some.
 */
export function packAlike(
  model: Model,
  batches: readonly StepBatch[],
  capacity: Capacity | Capacities,
): ReadyBatch[] {
  if (batches.length === 0)
    throw new TesseraeError('ERR_DATA', 'a step needs at least one batch, but none was given');
  const pack = (into?: Capacity): ReadyBatch[] =>
    batches.map((batch) =>
      packBatch(model, batch, { targets: true, ...(into === undefined ? {} : { capacity: into }) }),
    );
  const { documents, given } = reading({ name: 'the batch', code: 'ERR_DATA' }, () => {
    const hasDocuments = batches.some((batch) =>
      isPacked(batch) ? batch.capacity?.documents : 'documentStarts' in batch && batch.documentStarts,
    );
    const documents = hasDocuments ? { documents: true } : {};
    const fixed = capacity instanceof Capacities ? batches.find(isPacked)?.capacity : capacity;
    return { documents, given: fixed && { ...fixed, ...documents } };
  });
  if (given) return pack(given);
  const packed = pack();
  const common = (capacity as Capacities).holding({
    ...capacityOfAll(packed.map((batch) => batch.capacity)),
    ...documents,
  });
  const fits = packed.every(({ capacity: own }) => isDeepStrictEqual(own, common));
  return fits ? packed : pack(common);
}
