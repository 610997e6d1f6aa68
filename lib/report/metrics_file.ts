import { constants } from 'node:buffer';
import { z } from 'zod';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { openFileToWrite, readTextFile } from '../files/regular_file';
import { aFunction, anObject, filePath } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { AppendedFile } from './appended_file';
import { replaceFile } from './replace_file';

/** The content of a line. In the file, camelCase keys become snake_case and non-finite numbers become null. */
export type MetricsRecord = Readonly<Record<string, string | number | boolean | null | undefined>>;

/**
 * metrics.jsonl: one JSON object per line, written during training, so that other programs can follow the run.
 *
 * @example
 * const metrics = await MetricsFile.create('runs/demo/metrics.jsonl');
 * metrics.write({ type: 'step', step: 1, loss: 5.5, gradNorm: 1.2 }); // {"type":"step","step":1,"loss":5.5,"grad_norm":1.2}
 * await metrics.close();
 */
export class MetricsFile {
  private constructor(
    /** Where the lines are written. */
    readonly path: string,
    private readonly file: AppendedFile,
  ) {}

  /**
   * Creates an empty file, or empties an existing one.
   *
   * @param onTrouble - called when lines can't be written, and when lines were lost. Default: only `close()` reports that.
   * @throws TesseraeError `ERR_CONFIG` if the file can't be written, or for a wrong argument; `ERR_DEVICE` and
   * `ERR_OUT_OF_MEMORY` if the process has no more files or memory.
   */
  static async create(path: string, onTrouble?: (message: string) => void): Promise<MetricsFile> {
    parseConfig(filePath, path, { at: 'path' });
    parseConfig(listener, onTrouble, { at: 'onTrouble' });
    return MetricsFile.open(path, 'w', onTrouble);
  }

  /**
   * Opens the file of a resumed run, cut to the step of its checkpoint, so that no step is in it twice. It also removes an
   * `end` line and lines that a crash cut off. Creates the file if it is missing.
   *
   * @param step - the step of the checkpoint: lines of later steps are removed.
   * @param onTrouble - as in `create`.
   * @returns the file, and the lines that were kept, with the keys of the file.
   * @throws as `create` does.
   */
  static async resume(
    path: string,
    step: number,
    onTrouble?: (message: string) => void,
  ): Promise<{
    /** The open file; writes continue after the last kept line. */
    file: MetricsFile;
    /** The content of the kept lines. */
    kept: MetricsRecord[];
  }> {
    parseConfig(filePath, path, { at: 'path' });
    parseConfig(z.int().min(0), step, { at: 'step' });
    parseConfig(listener, onTrouble, { at: 'onTrouble' });
    const kept = (await textOf(path))
      .split('\n')
      .map(parsedLine)
      .filter((line) => line !== undefined)
      .filter((line) => line['type'] !== 'end' && Number(line['step']) <= step);
    await replaceFile(path, kept.map((line) => `${JSON.stringify(line)}\n`).join('')).catch(
      (cause: unknown) => refuse(path, 'written', cause),
    );
    return { file: await MetricsFile.open(path, 'a', onTrouble), kept };
  }

  private static async open(
    path: string,
    flags: 'w' | 'a',
    onTrouble: ((message: string) => void) | undefined,
  ): Promise<MetricsFile> {
    const file = new AppendedFile({ path, open: () => openFileToWrite(path, flags), onTrouble });
    await file.open().catch((cause: unknown) => refuse(path, 'written', cause));
    return new MetricsFile(path, file);
  }

  /**
   * Appends one line; returns at once. Lines that can't be written wait in memory, up to 1 MiB, and are retried with each
   * further line and by `close()`.
   *
   * @throws TesseraeError `ERR_CONFIG` if `record` is not an object.
   */
  write(record: MetricsRecord): void {
    parseConfig(anObject(), record, { at: 'record' });
    this.file.append(metricsLine(record));
  }

  /**
   * Waits until every line is written, and closes the file.
   *
   * @throws TesseraeError `ERR_CONFIG` if lines were lost; `details.lost` says how many.
   */
  async close(): Promise<void> {
    await this.file.close();
  }
}

const listener = aFunction<(message: string) => void>().optional();

function refuse(path: string, done: 'read' | 'written', cause: unknown): never {
  const why = `'${path}' can't be ${done}`;
  throw (
    exhaustedError(why, cause) ??
    new TesseraeError('ERR_CONFIG', `${why}: ${messageOf(cause)}`, { details: { path: 'path' }, cause })
  );
}

async function textOf(path: string): Promise<string> {
  try {
    return await readTextFile(path, constants.MAX_STRING_LENGTH);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    return refuse(path, 'read', error);
  }
}

/** The content of a line; undefined if it is not a JSON object. */
function parsedLine(line: string): MetricsRecord | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as MetricsRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** A record as a line of the file, with its line feed. */
export function metricsLine(record: MetricsRecord): string {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  return `${JSON.stringify(Object.fromEntries(entries.map(([key, value]) => [snakeCase(key), value])))}\n`;
}

/** The key of metrics.jsonl for a key of an event. */
export const snakeCase = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
