import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { exhaustedError, TesseraeError } from '../../errors';
import { retried } from '../../files/retried';
import { jsonInput } from './json_input';

/** Endings of the files that are read from a folder; a file that is given by name may have any name. */
export const TEXT_EXTENSIONS = ['.txt', '.text', '.md'] as const;
export const JSON_LINES_EXTENSIONS = ['.jsonl', '.ndjson'] as const;

/** A text file is one document; JSON lines have one document per line, a JSON array one per element. */
export type InputKind = 'text' | 'jsonl' | 'array';

export interface InputFile {
  readonly path: string;
  readonly kind: InputKind;
  readonly bytes: number;
  /** Of a JSON array: where it may be cut. */
  readonly anchors?: readonly number[];
}

const endsWith = (name: string, endings: readonly string[]): boolean =>
  endings.includes(path.extname(name).toLowerCase());

const kindOf = (name: string): InputKind => (endsWith(name, JSON_LINES_EXTENSIONS) ? 'jsonl' : 'text');

/**
 * The files of the inputs in the given order. Files of a folder, and of folders in it, are sorted by name in the order of
 * code units, so that the result is the same on any machine. Links in folders are not followed.
 *
 * @throws TesseraeError `ERR_DATA` for an input that is missing or neither file nor folder, or for a folder without texts.
 */
export async function listInputs(inputs: readonly string[]): Promise<InputFile[]> {
  const files: InputFile[] = [];
  for (const input of inputs) {
    const found = await stat(input).catch((cause: unknown) => unreadable(input, cause));
    if (found.isDirectory()) for (const file of await filesOf(input)) files.push(file);
    else if (found.isFile())
      files.push({ path: input, bytes: found.size, ...(await contentsOf(input, found.size)) });
    else throw unusable(input, 'is neither a file nor a folder');
  }
  return files;
}

const contentsOf = async (file: string, bytes: number): Promise<Pick<InputFile, 'kind' | 'anchors'>> =>
  endsWith(file, ['.json']) ? jsonInput(file, bytes) : { kind: kindOf(file) };

async function filesOf(folder: string): Promise<InputFile[]> {
  const known = [...TEXT_EXTENSIONS, ...JSON_LINES_EXTENSIONS];
  const read = (): Promise<Dirent[]> => readdir(folder, { recursive: true, withFileTypes: true });
  const entries = await retried(read).catch((cause: unknown) => unreadable(folder, cause));
  const paths = entries
    .filter((entry) => entry.isFile() && endsWith(entry.name, known))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort((a, b) => (a < b ? -1 : 1));
  if (paths.length === 0)
    throw unusable(
      folder,
      `is a folder without files that end in ${known.join(', ')}: give the files one by one`,
    );
  return Promise.all(
    paths.map(async (file) => ({ path: file, kind: kindOf(file), bytes: (await stat(file)).size })),
  );
}

function unreadable(input: string, cause: unknown): never {
  const { code } = cause as NodeJS.ErrnoException;
  throw (
    exhaustedError(`the input '${input}' can't be read`, cause) ??
    unusable(input, code === 'ENOENT' ? 'does not exist' : `can't be read (${code ?? String(cause)})`)
  );
}

const unusable = (input: string, why: string): TesseraeError =>
  new TesseraeError('ERR_DATA', `the input '${input}' ${why}`, { details: { path: input } });
