/** Recognizes the type of a file that can't be used, for an error message. */
import { closeSync, readSync } from 'node:fs';
import { messageOf } from '../errors';
import { JsonError } from './json';
import { recognise, RECOGNISED_BYTES, type ExpectedFile } from './recognise';
import { openFile, openFileSync } from './regular_file';

/** Like `recognise`, for the start of a file; undefined also if it can't be read. */
export async function recogniseFile(file: string, expected: ExpectedFile): Promise<string | undefined> {
  try {
    const handle = await openFile(file);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(RECOGNISED_BYTES), 0, RECOGNISED_BYTES, 0);
      return recognise(buffer.subarray(0, bytesRead), expected);
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}

/** As recogniseFile, in threads that may wait. */
export function recogniseFileSync(file: string, expected: ExpectedFile): string | undefined {
  try {
    const descriptor = openFileSync(file);
    try {
      const start = Buffer.alloc(RECOGNISED_BYTES);
      return recognise(start.subarray(0, readSync(descriptor, start, 0, start.length, 0)), expected);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
}

/** Why a file is not the expected JSON: it has another type, its text has a mistake, or it can't be read. */
export async function whyNotJson(file: string, cause: unknown): Promise<string> {
  const what =
    (cause as NodeJS.ErrnoException).code === undefined ? await recogniseFile(file, 'JSON') : undefined;
  if (what !== undefined) return `it is ${what}`;
  return cause instanceof JsonError ? `it is not valid JSON: ${cause.message}` : messageOf(cause);
}
