import { TesseraeError } from '../errors';
import { EventFile, scalarsOf } from '../report/tensorboard';
import type { TrainerEvent, WarningEvent } from './events';

/** Writes a run's TensorBoard file. It never fails a run: write errors become warnings. */
export class Board {
  private file: EventFile | undefined;
  private readonly troubles: string[] = [];

  private constructor() {}

  /** @param step - the first step that will be written. */
  static async create(directory: string, step: number): Promise<Board> {
    const board = new Board();
    board.file = await EventFile.create(directory, step, (message) => board.troubles.push(message));
    return board;
  }

  /** Appends the values of an event that TensorBoard shows; returns at once. */
  write(event: TrainerEvent): void {
    this.file?.write(event.step, scalarsOf({ ...event }));
  }

  /** The errors since the last call, as warnings. */
  warnings(step: number): WarningEvent[] {
    return this.troubles.splice(0).map((message) => ({ type: 'warning', step, code: 'ERR_CONFIG', message }));
  }

  /** Waits until everything is written and closes the file; then `warnings()` has the last errors. May be called twice. */
  async close(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close().catch((error: unknown) => {
      if (!(error instanceof TesseraeError)) throw error;
      this.troubles.push(error.message);
    });
  }
}
