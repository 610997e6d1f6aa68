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
import { shareOut } from './rank_shares';

/** The result of one optimizer step. */
export interface OptimizationStep extends StepResult {
  /** Tokens read, without padding. */
  readonly tokens: number;
  /**
   * Why training can't continue: `ERR_NON_FINITE` if a loss or a gradient is not finite, `ERR_DATA` if no target has a loss.
   * The step was attempted, but changed no weights.
   */
  readonly failure?: TesseraeError;
}

/** The trainer's optimizer to which the moments of a model belong. */
const owners = new WeakMap<Model, Optimization>();

/** Applies optimizer steps to a model: sets up the optimizer at the first step and checks each result. */
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
        `lossScaling is only for models in fp16, but this one computes in ${model.precision}: leave it out`,
        { details: { path: 'lossScaling' } },
      );
  }

  /**
   * Runs one step over micro-batches. Two may be in flight; the second starts before the result of the first is known.
   *
   * @param step - its number, from 1, for messages.
   * @param capacity - the capacity of the Program. Default: one of at most eight; smaller batches are padded to it.
   * @throws TesseraeError `ERR_DATA` or `ERR_SHAPE` for batches that can't be packed, and the errors of native code: the
   * step was then not attempted.
   */
  async step(
    batches: readonly StepBatch[],
    step: number,
    capacity: Capacity | Capacities = this.capacities,
  ): Promise<OptimizationStep> {
    const packed = packAlike(this.model, batches, capacity);
    await this.prepare();
    const { capacity: ofRanks, shares } = shareOut(this.model, packed);
    const result = await this.model.native.trainRanks(ofRanks, shares);
    const failure = this.failureOf(result, step);
    return {
      ...result,
      tokens: packed.reduce((sum, { lengths }) => sum + sumOf(lengths), 0),
      ...(failure ? { failure } : {}),
    };
  }

  /** The tensors that checkpoints hold in addition to `state()`. */
  get tensors(): OptimizerTensors {
    return { moments: momentsOf(this.args), ema: this.args.emaDecay > 0 };
  }

  /**
   * Counters and loss scaler for a checkpoint; undefined before the first step, when there are no moments yet.
   *
   * @throws TesseraeError `ERR_BUSY` if another trainer has trained the model since.
   */
  async state(): Promise<TrainerState['optimizer']> {
    if (!this.ready) return undefined;
    await this.prepare();
    const { native } = this.model;
    return { ...(await native.counters()), lossScaler: await native.scaler() };
  }

  /**
   * Restores the optimizer from a checkpoint, and discards everything it did before.
   *
   * @param state - the state that `state()` returned.
   * @param with.loadTensors - writes moments and moving average, once their memory is allocated.
   * @param with.lossScaler - whether to restore the loss scaler, which belongs to a precision.
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
        "another trainer has trained this model since, so this trainer's optimizer state is gone: create a new Trainer",
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

  /** Why training can't continue after a step; undefined if it can. */
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
      // An overflow of fp16: the scale was reduced, and the next step may be finite.
      if (skippedInRow < this.scaling.maxSkippedSteps) return undefined;
      return new TesseraeError(
        'ERR_NON_FINITE',
        `${skippedInRow} steps in a row up to step ${step} were skipped, because their gradients were not finite in fp16 ` +
          `although the loss scale fell to ${lossScale} (loss ${loss.toPrecision(4)}, learning rate ${rate}). Lower ` +
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

/** The part that the device needs; the limit on skipped steps is checked here. */
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
 * Packs micro-batches for one capacity: the given one, the one of batches that are packed already, or one of the given
 * capacities that holds each batch; with documents if a batch has some.
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
