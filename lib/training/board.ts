import { TesseraeError } from '../errors';
import { EventFile, scalarsOf } from '../report/tensorboard';
import type { TrainerEvent, WarningEvent } from './events';

/** TensorBoard's file of a run. It fails no run: what can't be written becomes warnings. */
export class Board {
  private file: EventFile | undefined;
  private readonly troubles: string[] = [];

  private constructor() {}

  /** @param step - the first that will be written. */
  static async create(directory: string, step: number): Promise<Board> {
    const board = new Board();
    board.file = await EventFile.create(directory, step, (message) => board.troubles.push(message));
    return board;
  }

  /** Appends what TensorBoard shows of an event; returns at once. */
  write(event: TrainerEvent): void {
    this.file?.write(event.step, scalarsOf({ ...event }));
  }

  /** What went wrong since the last call. */
  warnings(step: number): WarningEvent[] {
    return this.troubles.splice(0).map((message) => ({ type: 'warning', step, code: 'ERR_CONFIG', message }));
  }

  /** Waits until all is written, and closes the file; `warnings()` then has what is missing. May be called twice. */
  async close(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close().catch((error: unknown) => {
      if (!(error instanceof TesseraeError)) throw error;
      this.troubles.push(error.message);
    });
  }
}
