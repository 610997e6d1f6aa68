import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import { messageOf } from './safetensors';

/** Larger files are no JSON of a checkpoint: GPT-2 with 1,000 blocks has 1 MiB of names in its index. */
const MOST_BYTES = 16 * 1024 * 1024;

/**
 * Reads the text of a small file.
 *
 * @throws Error that says why it can't be read: it may be missing, too large, or a pipe.
 */
export async function readText(file: string): Promise<string> {
  // Opening a pipe would otherwise wait for a writer.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new Error('it is not a file');
    if (found.size > MOST_BYTES)
      throw new Error(`it has ${found.size} bytes; such files have ${MOST_BYTES} at most`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/**
 * Reads a JSON file of a checkpoint.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when it is missing or not what the schema says.
 */
export async function readJson<T extends z.ZodType>(
  directory: string,
  name: string,
  schema: T,
): Promise<z.output<T>> {
  const file = path.join(directory, name);
  try {
    return schema.parse(JSON.parse(await readText(file)));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? `it is not valid: ${z.prettifyError(cause)}` : messageOf(cause);
    throw new TesseraeError('ERR_CHECKPOINT', `'${file}' cannot be read: ${why}`, {
      details: { directory, file },
      cause,
    });
  }
}
