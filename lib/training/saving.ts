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

/** Number of saves in a row that may fail before the run ends. */
const FAILURES_IN_ROW = 2;

/** Codes of failures that may be temporary: of a disk; of memory, open files and threads that are used up. */
const PASSING: readonly ErrorCode[] = ['ERR_CHECKPOINT', 'ERR_OUT_OF_MEMORY', 'ERR_DEVICE'];

/** A checkpoint of a run that is being written. */
interface UnderWay {
  /** The event to report; rejects with the error if the save failed. */
  readonly told: Promise<SaveEvent>;
  readonly step: number;
  settled: boolean;
}

/** The trainer whose checkpoints are written. */
export interface SavingTrainer {
  readonly model: Model;
  readonly args: ResolvedTrainingArguments;
  readonly tokenizer: Tokenizer | undefined;
  /** The moments that its optimizer keeps per parameter. */
  readonly tensors: OptimizerTensors;
  readonly trainingStarts: SequenceStarts | undefined;
}

/** Writes a trainer's checkpoints one at a time while training continues, and counts failures. */
export class Saving {
  /** The last checkpoint of the run that is on the disk. */
  saved: string | undefined;
  /** Whether the trainer was restored from a checkpoint (perhaps of step 0): a run from there is not a new one. */
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

  /** Path of the checkpoint of a step of the run; undefined without outputDir. */
  folder(step: number): string | undefined {
    const { outputDir } = this.trainer.args;
    return outputDir === undefined ? undefined : checkpointFolder(outputDir, step);
  }

  /**
   * Prepares the folder of a run before its first step.
   *
   * @returns warnings.
   * @throws TesseraeError `ERR_CHECKPOINT` if no checkpoint can be written there.
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
   * Waits for the previous checkpoint, copies the model and starts writing this checkpoint. If there is not enough memory for
   * the copy, waits until the checkpoint is written. Don't train the model until this resolves.
   *
   * @param directory - default: a folder of the run; older checkpoints of the run are then removed.
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

  /** Like `begin`, for the run: call `outcome()` for its result before the next save. */
  async beginOfRun(state: TrainerState): Promise<void> {
    const { step } = state;
    const { path, written } = await this.begin(state);
    const told = written.then((): SaveEvent => ({ type: 'save', step, path }));
    const underWay: UnderWay = { told, step, settled: false };
    const settle = (): void => void (underWay.settled = true);
    told.then(settle, settle);
    this.underWay = underWay;
  }

  /** Whether `outcome()` has a result without waiting. */
  get settled(): boolean {
    return this.underWay?.settled ?? false;
  }

  /**
   * Waits for the checkpoint that the run is writing, and reports it once; undefined if there is none.
   *
   * @throws TesseraeError if it failed, and the previous one failed too.
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
          `${error.message}. The previous save failed too: training ends here, and earlier checkpoints are intact`,
          { details: { ...error.details }, cause: error.cause },
        );
      }
      const message = `${error.message}. Training continues, and the next save will be tried`;
      return { type: 'warning', step: underWay.step, code: error.code, message };
    }
  }

  /** Waits until nothing is being written. A failure that was not reported becomes a warning of the process. */
  async end(): Promise<void> {
    const { underWay } = this;
    this.underWay = undefined;
    await underWay?.told.catch((error: unknown) => process.emitWarning(error as Error));
    await this.idle;
  }
}
