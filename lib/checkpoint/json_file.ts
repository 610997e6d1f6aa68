import path from 'node:path';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import { parseJson, type JsonOptions } from '../files/json';
import { whyNotJson } from '../files/recognise_file';
import { files, readError, systemCode } from './files';

/**
 * Reads a JSON file of a checkpoint.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` if it is missing or does not match the schema.
 */
export async function readJson<T extends z.ZodType>(
  directory: string,
  name: string,
  schema: T,
  options?: JsonOptions,
): Promise<z.output<T>> {
  return (await readJsonText(directory, name, schema, options)).value;
}

/** As readJson, with the text that it read. */
export async function readJsonText<T extends z.ZodType>(
  directory: string,
  name: string,
  schema: T,
  options?: JsonOptions,
): Promise<{ readonly value: z.output<T>; readonly text: string }> {
  const file = path.join(directory, name);
  try {
    const text = await files.readText(file);
    return { value: schema.parse(parseJson(text, options)), text };
  } catch (cause) {
    if (systemCode(cause) !== undefined) throw readError(file, cause);
    const why =
      cause instanceof z.ZodError
        ? `it is not valid: ${z.prettifyError(cause)}`
        : await whyNotJson(file, cause);
    throw new TesseraeError('ERR_CHECKPOINT', `'${file}' can't be read: ${why}`, {
      details: { directory, file },
      cause,
    });
  }
}
