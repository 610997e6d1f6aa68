import { constants } from 'node:buffer';
import { z } from 'zod';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { openFileToWrite, readTextFile } from '../files/regular_file';
import { aFunction, anObject, filePath } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { AppendedFile } from './appended_file';
import { replaceFile } from './replace_file';

/** What a line may hold; keys in camelCase become snake_case in the file, and numbers that aren't finite null. */
export type MetricsRecord = Readonly<Record<string, string | number | boolean | null | undefined>>;

/**
 * metrics.jsonl: one JSON object a line, written while training goes on, so that other programs may follow it.
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
   * Creates the file, empty, or empties the one that is there.
   *
   * @param onTrouble - told when lines can't be written, and when lines were lost. Default: only `close()` tells.
   * @throws TesseraeError `ERR_CONFIG` where it can't be written, and for a wrong argument; `ERR_DEVICE` and
   * `ERR_OUT_OF_MEMORY` where the process may have no more files or memory.
   */
  static async create(path: string, onTrouble?: (message: string) => void): Promise<MetricsFile> {
    parseConfig(filePath, path, { at: 'path' });
    parseConfig(listener, onTrouble, { at: 'onTrouble' });
    return MetricsFile.open(path, 'w', onTrouble);
  }

  /**
   * Opens the file of a run that is resumed, cut to what the run had reported when its checkpoint was written, so that no
   * step is there twice. Its end and lines that a crash tore are left out too. A file that isn't there is made.
   *
   * @param step - the step of the checkpoint: lines of later ones go.
   * @param onTrouble - as of `create`.
   * @returns the file, and the lines that were kept, with the keys that the file has.
   * @throws as `create` does.
   */
  static async resume(
    path: string,
    step: number,
    onTrouble?: (message: string) => void,
  ): Promise<{
    /** Open, to go on after the last line that was kept. */
    file: MetricsFile;
    /** What the lines that were kept hold. */
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
   * Appends one line; returns at once. Lines that can't be written wait, up to 1 MiB of them, and are tried again with each
   * further line and by `close()`.
   *
   * @throws TesseraeError `ERR_CONFIG` for what is no object.
   */
  write(record: MetricsRecord): void {
    parseConfig(anObject(), record, { at: 'record' });
    this.file.append(metricsLine(record));
  }

  /**
   * Waits until every line is written, and closes the file.
   *
   * @throws TesseraeError `ERR_CONFIG` when lines were lost; `details.lost` says how many.
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

/** What a line holds; undefined for one that is no object of JSON. */
function parsedLine(line: string): MetricsRecord | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as MetricsRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** A record as it stands in the file, with its line feed. */
export function metricsLine(record: MetricsRecord): string {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  return `${JSON.stringify(Object.fromEntries(entries.map(([key, value]) => [snakeCase(key), value])))}\n`;
}

/** The key of metrics.jsonl for a key of an event. */
export const snakeCase = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
