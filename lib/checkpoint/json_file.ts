import path from 'node:path';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import { parseJson, type JsonOptions } from '../files/json';
import { whyNotJson } from '../files/recognise_file';
import { files, readError, systemCode } from './files';

/**
 * Reads a JSON file of a checkpoint.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when it is missing or not what the schema says.
 */
export async function readJson<T extends z.ZodType>(
  directory: string,
  name: string,
  schema: T,
  options?: JsonOptions,
): Promise<z.output<T>> {
  const file = path.join(directory, name);
  try {
    return schema.parse(parseJson(await files.readText(file), options));
  } catch (cause) {
    if (systemCode(cause) !== undefined) throw readError(file, cause);
    const why =
      cause instanceof z.ZodError
        ? `it is not valid: ${z.prettifyError(cause)}`
        : await whyNotJson(file, cause);
    throw new TesseraeError('ERR_CHECKPOINT', `'${file}' cannot be read: ${why}`, {
      details: { directory, file },
      cause,
    });
  }
}
