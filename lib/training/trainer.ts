import { lockRun } from '../checkpoint/run_lock';
import type { TrainerState } from '../checkpoint/trainer_state';
import { lossesOf } from '../graph/losses';
import type { Capacity, StepBatch } from '../models/inputs';
import { aModel, type Model } from '../models/model';
import { filePath } from '../models/argument_schemas';
import { parseConfig, withoutUndefined } from '../models/validation';
import { makeFolder } from '../report/make_folder';
import { plainArguments, resolveTrainingArguments, type ResolvedTrainingArguments } from './arguments';
import { BatchQueue } from './batch_queue';
import { Board } from './board';
import { capacityOfRows, checkFits } from './dataset_fit';
import { earlyStopping } from './early_stopping';
import { evaluateModel } from './evaluation';
import {
  measurementsOf,
  type EvaluationResult,
  type StepMetrics,
  type TrainerCallback,
  type TrainerEvent,
  type TrainResult,
} from './events';
import { Optimization, type OptimizationStep } from './optimization';
import { kernelsOf, kernelWarnings } from './saved_kernels';
import { findResumable, LIBRARY_VERSION, machineOf, restore, type ResumeResult } from './resume';
import { RunState } from './run_state';
import { Saving } from './saving';
import { stepsAhead } from './steps_ahead';
import { Stoppings } from './stoppings';
import { Throughput } from './throughput';
import { listOf, missing } from './trainer_calls';
import { trainerOptionsSchema, trainSchema, type TrainerOptions } from './trainer_options';
import { Usage } from './usage';

/** What a series of steps needs. */
interface Segment {
  readonly queue: BatchQueue;
  readonly capacity: Capacity | undefined;
  readonly speed: Throughput;
  readonly signal: AbortSignal | undefined;
}

/**
 * Trains a model. Use it in one of three ways: `train()`, which resolves at the end; `for await`, which yields events and
 * stops cleanly at `break`; or `step()`, for loops of your own. If you start a stopped run again, it continues where it
 * stopped.
 *
 * @example
 * const data = await openText('book.txt', { blockSize: 128 });
 * const trainer = new Trainer(model, {
 *   arguments: { maxSteps: 1000, batchSize: 32, warmupSteps: 50, evalSteps: 100 },
 *   train: data.train,
 *   evaluation: data.validation,
 * });
 * for await (const event of trainer) {
 *   if (event.type === 'evaluate') console.log(event.step, event.loss);
 * }
 */
export class Trainer {
  /** The arguments with every default filled in. */
  readonly arguments: ResolvedTrainingArguments;
  private readonly options: TrainerOptions;
  private readonly optimization: Optimization;
  private readonly callbacks: readonly TrainerCallback[];
  private readonly counts: RunState;
  private readonly stoppings: Stoppings;
  private stopRequested = false;
  private readonly saving: Saving;
  /** The TensorBoard file of the current run, if it reports there. */
  private board: Board | undefined;
  private readonly usage = new Usage();

  /**
   * Makes a trainer. It computes nothing and takes no memory before its first step.
   *
   * @param options - how to train and on what.
   * @throws TesseraeError `ERR_CONFIG` for a wrong argument, or for a dataset that the model can't learn from: rows longer
   * than nPositions, a larger vocabulary, next tokens as targets for a model that already sees them.
   */
  constructor(
    /** The model to train. */
    readonly model: Model,
    options: TrainerOptions,
  ) {
    parseConfig(aModel, model, { at: 'model' });
    this.options = parseConfig(trainerOptionsSchema, options);
    this.arguments = resolveTrainingArguments(options.arguments);
    this.optimization = new Optimization(model, this.arguments);
    const { tokenizer, starts: trainingStarts } = options.train ?? {};
    const { tensors } = this.optimization;
    this.saving = new Saving({ model, args: this.arguments, tokenizer, trainingStarts, tensors });
    const { earlyStopping: stopping } = this.arguments;
    if (stopping && !options.evaluation)
      throw missing(
        'earlyStopping',
        'earlyStopping needs evaluations: give the Trainer an evaluation dataset, or leave earlyStopping out',
      );
    const { callbacks = [] } = options;
    const own = stopping && earlyStopping(stopping);
    this.callbacks = own ? [...callbacks, own] : callbacks;
    this.stoppings = new Stoppings(callbacks, own);
    this.counts = new RunState(this.arguments.loggingSteps);
    if (this.arguments.reportTo.length > 0 && this.arguments.outputDir === undefined)
      throw missing('reportTo', 'reportTo tensorboard needs outputDir: set outputDir, or leave reportTo out');
    for (const dataset of [options.train, options.evaluation]) if (dataset) checkFits(dataset, model);
  }

  /** Optimizer steps so far. */
  get globalStep(): number {
    return this.counts.steps;
  }

  /**
   * Trains until maxSteps, or until a callback stops it.
   *
   * @param options - `signal` is checked between steps: if it is aborted, the promise rejects with its reason after the step
   * in flight. Nothing is saved then; you may call `save()`.
   * @throws TesseraeError `ERR_NON_FINITE` if a loss or gradient is not finite (for a gradient in fp16: if too many steps in a
   * row were skipped), `ERR_OUT_OF_MEMORY` if a step does not fit, `ERR_BUSY` during another run, `ERR_CONFIG` if another
   * trainer or process trains into outputDir, and whatever a dataset or a callback throws. A failed step counts, and so does a
   * step that was in flight after it.
   */
  async train(options: { readonly signal?: AbortSignal } = {}): Promise<TrainResult> {
    const { signal } = parseConfig(trainSchema, options);
    const events = this.run(signal);
    for (;;) {
      const { done, value } = await events.next();
      if (done) return value;
      if (value.type === 'warning') process.emitWarning(value.message, { code: value.code });
    }
  }

  /** Yields the events of a run, which waits while you handle each. `break` stops it after the current step. */
  [Symbol.asyncIterator](): AsyncGenerator<TrainerEvent, TrainResult, void> {
    return this.run();
  }

  /** Ends the current run after the current step, as if that step were the last; does nothing without a run. */
  stop(): void {
    this.stopRequested = true;
  }

  /**
   * Runs one optimizer step over one batch, or over micro-batches whose gradients are summed, for loops of your own. To keep a
   * GPU busy, call the next step before you await this one: two may be in flight. Batches of rows are copied before the call
   * returns, so you may reuse their arrays at once. You may reuse the arrays of packed batches when the step has ended.
   *
   * @param batches - one micro-batch, or several; the loss is the mean over all their targets.
   * @throws TesseraeError `ERR_DATA` or `ERR_SHAPE` for a batch that the model can't read, `ERR_CONFIG` for a field that
   * batches don't have, `ERR_NON_FINITE` if a loss or gradient is not finite (the step is then not applied),
   * `ERR_OUT_OF_MEMORY`, `ERR_BUSY`.
   *
   * @example
   * const trainer = new Trainer(model, { arguments: { maxSteps: 100 } });
   * const { loss } = await trainer.step({ tokens: [[1, 2, 3], [4, 5, 6, 7]] });
   */
  async step(batches: StepBatch | readonly StepBatch[]): Promise<StepMetrics> {
    using underWay = this.usage.beginStep();
    const step = this.globalStep + underWay.place;
    const done = await this.apply(listOf(batches), step);
    const { lossSum, validTargets, applied } = done;
    return {
      step,
      loss: lossSum / validTargets,
      ...this.lossesOf(done),
      ...measurementsOf(done),
      tokens: validTargets,
      applied,
      ...this.lossScaleOf(done),
    };
  }

  /**
   * Computes the loss over a fixed set of rows of the evaluation dataset: at most evalBatches batches of batchSize rows.
   *
   * @throws TesseraeError `ERR_CONFIG` without an evaluation dataset, `ERR_BUSY` during a step.
   */
  async evaluate(): Promise<EvaluationResult> {
    const { evaluation } = this.options;
    if (!evaluation)
      throw missing('evaluation', 'evaluate() needs data: give the Trainer an evaluation dataset');
    const { batchSize, evalBatches } = this.arguments;
    return this.usage.exclusive('evaluate', async () => {
      const result = await evaluateModel(this.model, evaluation, { rows: batchSize, batches: evalBatches });
      this.counts.evaluated = { step: this.globalStep, loss: result.loss };
      return result;
    });
  }

  /**
   * Writes a checkpoint to resume from, by default to `outputDir/checkpoint-<step>`. In outputDir, older checkpoints are then
   * removed as saveTotalLimit and saveBestLimit say. The model is copied first: once `step()` no longer rejects with
   * `ERR_BUSY`, you may continue training while the files are written.
   *
   * @param directory - the folder to write. Default: `outputDir/checkpoint-<step>`.
   * @returns its folder, once it is on the disk.
   * @throws TesseraeError `ERR_CONFIG` without a folder, or if another trainer or process trains into outputDir;
   * `ERR_CHECKPOINT` if it can't be written (earlier checkpoints are then intact); `ERR_BUSY` during a step, or if another
   * trainer has trained the model since.
   */
  async save(directory?: string): Promise<string> {
    parseConfig(filePath.optional(), directory, { at: 'directory' });
    let lock: Disposable | undefined;
    try {
      const { path, written } = await this.usage.exclusive('save', async () => {
        lock = directory === undefined ? await this.lockFolder() : undefined;
        return this.saving.begin(await this.state(), directory);
      });
      await written;
      return path;
    } finally {
      lock?.[Symbol.dispose]();
    }
  }

  /**
   * Goes back to a checkpoint: restores weights, moments, counters and the place in the data. On the same machine and version,
   * training then continues bit for bit as if it had never stopped. If it may not, because the device, the precision or the
   * version differs, `differences` says why. Damaged checkpoints of a run are skipped, the previous one is used, and `damaged`
   * lists them.
   *
   * You may make a run longer: maxSteps may differ, and so may earlyStopping. If the learning rates of the steps so far depend
   * on maxSteps (docs/schedules.md), the remaining steps use the new schedule, and `differences` says so.
   *
   * @param directory - a checkpoint, or the folder of a run, whose latest complete checkpoint is used. Default: outputDir.
   * @throws TesseraeError `ERR_CHECKPOINT` if there is none, or if it has another model, other arguments (those that only
   * decide when to end, and how often to report and save, may differ) or other data: `details.differences` names them;
   * `ERR_CONFIG` without a folder, or if another trainer trains into outputDir; `ERR_BUSY` during a run or a step.
   *
   * @example
   * const { step, damaged } = await trainer.resume('runs/book');
   * await trainer.train();
   */
  async resume(directory = this.arguments.outputDir): Promise<ResumeResult> {
    if (directory === undefined)
      throw missing('outputDir', 'resume() needs a folder: set outputDir, or give resume() a folder');
    parseConfig(filePath, directory, { at: 'directory' });
    this.usage.refuseWithinRun('resume');
    return this.usage.exclusive('resume', async () => {
      const { state, ...found } = await findResumable(directory, {
        owner: this,
        model: this.model,
        args: this.arguments,
        blockSize: this.options.train?.blockSize,
        order: this.options.train?.order,
      });
      const kernels = await restore({ state, ...found }, this.model, this.optimization);
      this.saving.resumed = true;
      this.counts.restore(state);
      this.stoppings.restore(state);
      return { ...found, differences: [...found.differences, ...kernels] };
    });
  }

  private async state(): Promise<TrainerState> {
    const { model, globalStep: step } = this;
    const optimizer = await this.optimization.state();
    const { blockSize, order } = this.options.train ?? {};
    return {
      version: 3,
      library: LIBRARY_VERSION,
      ...this.counts.saved(),
      ...this.stoppings.saved(),
      ...(optimizer ? { optimizer } : {}),
      data: { seed: this.arguments.seed, step, ...withoutUndefined({ blockSize, order }) },
      modelSeed: model.native.seed,
      arguments: plainArguments(this.arguments),
      precision: model.precision,
      machine: machineOf(model),
      ...withoutUndefined({ products: await kernelsOf(model) }),
    };
  }

  private async *run(signal?: AbortSignal): AsyncGenerator<TrainerEvent, TrainResult, void> {
    using _running = this.usage.beginRun();
    this.stopRequested = false;
    this.stoppings.begin();
    let lock: Disposable | undefined;
    try {
      lock = this.isLast() ? undefined : await this.lockFolder();
      const result = yield* this.runSteps(signal);
      await this.board?.close();
      yield* this.tellOfBoard();
      yield* this.emit({ type: 'end', ...result });
      return result;
    } finally {
      await this.saving.end();
      await this.board?.close();
      // After an error, which must not be masked.
      for (const { message, code } of this.board?.warnings(this.globalStep) ?? [])
        process.emitWarning(message, { code });
      this.board = undefined;
      lock?.[Symbol.dispose]();
    }
  }

  private async *tellOfBoard(): AsyncGenerator<TrainerEvent, void, void> {
    for (const warning of this.board?.warnings(this.globalStep) ?? []) yield* this.emit(warning);
  }

  /** Keeps other trainers out of outputDir while this one writes there. */
  private async lockFolder(): Promise<Disposable | undefined> {
    const { outputDir } = this.arguments;
    if (outputDir === undefined) return undefined;
    await makeFolder(outputDir).catch(() => undefined); // preparing it reports why it can't be made
    return lockRun(outputDir, this);
  }

  /** Starts writing a checkpoint of the run, once the result of the previous one is reported. */
  private async *beginSave(): AsyncGenerator<TrainerEvent, void, void> {
    if (this.arguments.outputDir === undefined) return;
    yield* this.tellOfSave();
    await this.usage.exclusive('save', async () => this.saving.beginOfRun(await this.state()));
  }

  private async *tellOfSave(): AsyncGenerator<TrainerEvent, TrainerEvent['type'] | undefined, void> {
    const event = await this.saving.outcome();
    if (event) yield* this.emit(event);
    return event?.type;
  }

  private async *runSteps(signal?: AbortSignal): AsyncGenerator<TrainerEvent, TrainResult, void> {
    const { train } = this.options;
    if (!train) throw missing('train', 'train() needs data: give the Trainer a train dataset');
    const { maxSteps, batchSize, gradientAccumulationSteps, loggingSteps, evalSteps, saveSteps, seed } =
      this.arguments;
    const { evaluation: evaluationSet } = this.options;
    const started = performance.now();
    const capacity = capacityOfRows(this.model, batchSize, train.blockSize);
    const queue = new BatchQueue(train, {
      seed,
      rows: batchSize,
      microSteps: gradientAccumulationSteps,
      maxSteps,
    });
    const speed = new Throughput();
    // The loss of the last report, for a run that has nothing left to do.
    let { loss } = this.counts;
    let evaluation: EvaluationResult | undefined;
    const { outputDir, reportTo } = this.arguments;
    const warnings = this.isLast() ? [] : await this.saving.prepare(this.globalStep);
    if (outputDir !== undefined && reportTo.includes('tensorboard') && !this.isLast())
      this.board = await Board.create(outputDir, this.globalStep + 1);
    for (const warning of [...warnings, ...kernelWarnings(this.model, this.globalStep)])
      yield* this.emit(warning);
    const every = (count: number, step: number): boolean => count > 0 && step % count === 0;
    const reports = (step: number): boolean =>
      step >= maxSteps || [loggingSteps, evalSteps, saveSteps].some((count) => every(count, step));

    // The previous run was left between a step and the evaluation due after it.
    const isDue = every(evalSteps, this.globalStep) && this.counts.evaluated?.step !== this.globalStep;
    if (evaluationSet && isDue && this.globalStep > 0 && !this.isLast())
      yield* this.emit({ type: 'evaluate', step: this.globalStep, ...(await this.evaluate()) });

    while (!this.isLast()) {
      const last = await this.usage.exclusive('train', () =>
        this.stepsUntil(reports, { queue, capacity, speed, signal }),
      );
      signal?.throwIfAborted();
      const step = this.globalStep;
      const due = (count: number): boolean => every(count, step);
      if (this.saving.settled || due(saveSteps)) yield* this.tellOfSave();
      if (due(loggingSteps) || this.isLast()) {
        ({ loss } = this.counts);
        yield* this.emit({
          type: 'step',
          step,
          loss,
          ...measurementsOf(last),
          tokensPerSecond: speed.tokensPerSecond,
          etaSeconds: speed.etaSeconds(maxSteps - step),
          tokens: this.counts.tokens,
          skippedSteps: this.counts.skipped,
          ...this.lossScaleOf(last),
        });
      }
      if (evaluationSet && (due(evalSteps) || this.isLast())) {
        evaluation = await this.evaluate();
        yield* this.emit({ type: 'evaluate', step, ...evaluation });
      }
      yield* this.tellOfBoard();
      signal?.throwIfAborted();
      if (due(saveSteps) || this.isLast()) yield* this.beginSave();
    }
    // No later save follows the last one, so try it again.
    while ((yield* this.tellOfSave()) === 'warning') yield* this.beginSave();
    const checkpoint = this.saving.saved;
    return {
      reason: this.globalStep >= maxSteps ? 'maxSteps' : 'stopped',
      step: this.globalStep,
      loss,
      ...(evaluation ? { evaluation } : {}),
      ...(checkpoint === undefined ? {} : { checkpoint }),
      tokens: this.counts.tokens,
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Runs the steps up to the next report; returns the last one. */
  private async stepsUntil(reports: (step: number) => boolean, segment: Segment): Promise<OptimizationStep> {
    const { queue, capacity, speed, signal } = segment;
    let step = this.globalStep;
    let before = performance.now();
    return stepsAhead({
      start: async () => {
        signal?.throwIfAborted();
        const batches = await queue.take(step);
        return { step: this.apply(batches, ++step, batches[0]?.capacity ?? capacity) };
      },
      finish: ({ tokens }) => {
        const now = performance.now();
        speed.add(tokens, (now - before) / 1000);
        before = now;
      },
      isLast: () => reports(step) || this.stopRequested,
    });
  }

  private isLast(): boolean {
    return this.stopRequested || this.stoppings.reached || this.globalStep >= this.arguments.maxSteps;
  }

  /** Calls the callbacks first, so that a `stop` is known before the event is yielded. */
  private async *emit(event: TrainerEvent): AsyncGenerator<TrainerEvent, void, void> {
    this.board?.write(event);
    for (const callback of this.callbacks) {
      const answer = await callback(event);
      if (answer?.stop) this.stop();
    }
    const { evalSteps } = this.arguments;
    if (event.type === 'evaluate' && evalSteps > 0 && event.step % evalSteps === 0) this.stoppings.count();
    yield event;
  }

  private async apply(
    batches: readonly StepBatch[],
    number: number,
    capacity?: Capacity,
  ): Promise<OptimizationStep> {
    const done = await this.optimization.step(batches, number, capacity);
    this.counts.count(done);
    if (done.failure) throw done.failure;
    return done;
  }

  private lossesOf({ losses }: OptimizationStep): Pick<StepMetrics, 'losses'> {
    const named = lossesOf(this.model.graph);
    if (named.length < 2) return {};
    const mean = (i: number): number => (losses[i]?.sum ?? NaN) / (losses[i]?.validTargets ?? NaN);
    return { losses: Object.fromEntries(named.map(({ output }, i) => [output, mean(i)])) };
  }

  private lossScaleOf({ lossScale }: OptimizationStep): { lossScale?: number } {
    return this.model.precision === 'fp16' ? { lossScale } : {};
  }
}
