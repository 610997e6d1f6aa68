import { constants } from 'node:buffer';
import { rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { messageOf, TesseraeError } from '../errors';
import { anObject, filePath } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { openFileToWrite, readTextFile } from '../regular_file';
import { AppendedFile } from './appended_file';

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
   * @throws TesseraeError `ERR_DATA` where it can't be written, with `details.path`; `ERR_CONFIG` for a wrong argument.
   */
  static async create(path: string): Promise<MetricsFile> {
    parseConfig(filePath, path, { at: 'path' });
    return new MetricsFile(path, new AppendedFile(await opened(path, 'w')));
  }

  /**
   * Opens the file of a run that is resumed, cut to what the run had reported when its checkpoint was written, so that no
   * step is there twice. Its end and lines that a crash tore are left out too. A file that isn't there is made.
   *
   * @param step - the step of the checkpoint: lines of later ones go.
   * @returns the file, and the lines that were kept, with the keys that the file has.
   * @throws as `create` does.
   */
  static async resume(
    path: string,
    step: number,
  ): Promise<{
    /** Open, to go on after the last line that was kept. */
    file: MetricsFile;
    /** What the lines that were kept hold. */
    kept: MetricsRecord[];
  }> {
    parseConfig(filePath, path, { at: 'path' });
    parseConfig(z.int().min(0), step, { at: 'step' });
    const kept = (await textOf(path))
      .split('\n')
      .map(parsedLine)
      .filter((line) => line !== undefined)
      .filter((line) => line['type'] !== 'end' && Number(line['step']) <= step);
    // Beside the file first, so that a crash now leaves the one or the other.
    const cut = `${path}.tmp`;
    const text = kept.map((line) => `${JSON.stringify(line)}\n`).join('');
    await coded(path, async () => {
      await rm(cut, { force: true });
      await writeFile(cut, text, { flag: 'wx', flush: true });
      await rename(cut, path);
    });
    return { file: new MetricsFile(path, new AppendedFile(await opened(path, 'a'))), kept };
  }

  /**
   * Appends one line; returns at once. A failure to write is thrown by `close()`.
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
   * @throws TesseraeError `ERR_DATA` when a line could not be written, with `details.path`.
   */
  async close(): Promise<void> {
    await coded(this.path, () => this.file.close());
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readTextFile(path, constants.MAX_STRING_LENGTH);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new TesseraeError('ERR_DATA', `'${path}' can't be read: ${messageOf(cause)}`, {
      details: { path },
      cause,
    });
  }
}

const opened = (path: string, flags: 'w' | 'a'): ReturnType<typeof openFileToWrite> =>
  coded(path, () => openFileToWrite(path, flags));

/** Gives the errors of the file system a code. */
async function coded<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    throw new TesseraeError('ERR_DATA', `'${path}' can't be written: ${messageOf(cause)}`, {
      details: { path },
      cause,
    });
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
