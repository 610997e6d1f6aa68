import { checkpointFolder, listCheckpoints, prepareRunFolder, type Rotation } from '../checkpoint/run_folder';
import { expectedBytes, snapshot, trainerCheckpoint } from '../checkpoint/trainer_checkpoint';
import type { TrainerState } from '../checkpoint/trainer_state';
import type { OptimizerTensors } from '../checkpoint/weights';
import { writeInThread } from '../checkpoint/writer_thread';
import type { SequenceStarts } from '../data/dataset';
import type { Tokenizer } from '../data/tokenizer';
import { TesseraeError, type ErrorCode } from '../errors';
import type { Model } from '../models/model';
import type { ResolvedTrainingArguments } from './arguments';
import type { SaveEvent, WarningEvent } from './events';

/** Saves that may fail one after another before the run ends. */
const FAILURES_IN_ROW = 2;

/** Of failures that may pass: of a disk; of memory, files and threads that are used up. */
const PASSING: readonly ErrorCode[] = ['ERR_CHECKPOINT', 'ERR_OUT_OF_MEMORY', 'ERR_DEVICE'];

/** A checkpoint of a run that is being written. */
interface UnderWay {
  /** What to tell of it; rejects with why it failed. */
  readonly told: Promise<SaveEvent>;
  readonly step: number;
  settled: boolean;
}

/** Whose checkpoints are written. */
export interface SavingTrainer {
  readonly model: Model;
  readonly args: ResolvedTrainingArguments;
  readonly tokenizer: Tokenizer | undefined;
  /** What its optimizer keeps of each parameter. */
  readonly tensors: OptimizerTensors;
  readonly trainingStarts: SequenceStarts | undefined;
}

/** Writes a trainer's checkpoints while it goes on, one at a time, and counts those that fail. */
export class Saving {
  /** The last checkpoint of the run that is on the disk. */
  saved: string | undefined;
  /** Whether the trainer was set to a checkpoint, which may be one of step 0: a run from there is no new one. */
  resumed = false;
  private underWay: UnderWay | undefined;
  private failuresInRow = 0;
  /** Resolves when nothing is being written. */
  private idle: Promise<unknown> = Promise.resolve();
  private readonly rotation: Rotation | undefined;

  constructor(private readonly trainer: SavingTrainer) {
    const { outputDir: run, saveTotalLimit: limit, saveBestLimit: bestLimit } = trainer.args;
    if (run !== undefined && limit > 0) this.rotation = { run, limit, bestLimit };
  }

  /** Where the checkpoint of a step of the run belongs; undefined without outputDir. */
  folder(step: number): string | undefined {
    const { outputDir } = this.trainer.args;
    return outputDir === undefined ? undefined : checkpointFolder(outputDir, step);
  }

  /**
   * Makes the folder of a run ready, before its first step.
   *
   * @returns what to warn of.
   * @throws TesseraeError `ERR_CHECKPOINT` when no checkpoint can be written there.
   */
  async prepare(step: number): Promise<WarningEvent[]> {
    const { outputDir, saveSteps, maxSteps } = this.trainer.args;
    this.saved = undefined;
    this.failuresInRow = 0;
    if (outputDir === undefined) return [];
    const space = await prepareRunFolder(outputDir, {
      bytes: expectedBytes(this.trainer.model, this.trainer.tensors),
      count: saveSteps === 0 ? 1 : Math.ceil(maxSteps / saveSteps) - Math.floor(step / saveSteps),
      rotation: this.rotation,
    });
    const messages = space === undefined ? [] : [space];
    const begins = step === 0 && !this.resumed;
    if (begins && (await listCheckpoints(outputDir)).some((one) => one.step > 0))
      messages.push(
        `'${outputDir}' holds checkpoints of an earlier run: they stay, and count as this run's for resume(), saveTotalLimit ` +
          'and saveBestLimit. Resume it, remove them, or choose another outputDir',
      );
    return messages.map((message) => ({ type: 'warning', step, code: 'ERR_CHECKPOINT', message }));
  }

  /**
   * Copies the model, once the checkpoint before is written, and begins to write this one. Where memory does not suffice
   * for the copy, waits until it is written. The model must be at rest meanwhile, and may be trained on after that.
   *
   * @param directory - default: that of the run, where older ones are removed afterwards.
   */
  async begin(
    state: TrainerState,
    directory?: string,
  ): Promise<{ readonly path: string; readonly written: Promise<void> }> {
    const { model, tokenizer, trainingStarts, tensors } = this.trainer;
    const path = directory ?? this.folder(state.step);
    if (path === undefined)
      throw new TesseraeError(
        'ERR_CONFIG',
        'there is no folder to save to: set outputDir, or give save() one',
        {
          details: { path: 'outputDir' },
        },
      );
    await this.idle;
    const rotation = directory === undefined ? this.rotation : undefined;
    const checkpoint = trainerCheckpoint(model, path, {
      state,
      tensors,
      tokenizer,
      trainingStarts,
      rotation,
    });
    const copy = await snapshot(checkpoint);
    const written = writeInThread(copy ?? checkpoint);
    this.idle = written.catch(() => undefined);
    if (!copy) await this.idle;
    return { path, written };
  }

  /** As begin, for the run: `outcome()` has to be asked what becomes of it, before the next. */
  async beginOfRun(state: TrainerState): Promise<void> {
    const { step } = state;
    const { path, written } = await this.begin(state);
    const told = written.then((): SaveEvent => ({ type: 'save', step, path }));
    const underWay: UnderWay = { told, step, settled: false };
    const settle = (): void => void (underWay.settled = true);
    told.then(settle, settle);
    this.underWay = underWay;
  }

  /** Whether `outcome()` has something to tell at once. */
  get settled(): boolean {
    return this.underWay?.settled ?? false;
  }

  /**
   * Waits for the checkpoint of the run that is being written, and tells of it once; undefined when there is none.
   *
   * @throws TesseraeError why it failed, when the one before had failed too.
   */
  async outcome(): Promise<SaveEvent | WarningEvent | undefined> {
    const { underWay } = this;
    if (!underWay) return undefined;
    this.underWay = undefined;
    try {
      const saved = await underWay.told;
      this.failuresInRow = 0;
      this.saved = saved.path;
      return saved;
    } catch (error) {
      if (!(error instanceof TesseraeError) || !PASSING.includes(error.code)) throw error;
      if (++this.failuresInRow === FAILURES_IN_ROW) {
        throw new TesseraeError(
          error.code,
          `${error.message}. The save before failed too: training ends here, at what was saved before`,
          { details: { ...error.details }, cause: error.cause },
        );
      }
      const message = `${error.message}. Training goes on, and the next save is tried`;
      return { type: 'warning', step: underWay.step, code: error.code, message };
    }
  }

  /** Waits until nothing is being written. A failure that nobody was told of becomes a warning of the process. */
  async end(): Promise<void> {
    const { underWay } = this;
    this.underWay = undefined;
    await underWay?.told.catch((error: unknown) => process.emitWarning(error as Error));
    await this.idle;
  }
}
