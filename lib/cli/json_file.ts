import { createReadStream } from 'node:fs';
import { TesseraeError } from '../errors';
import { JsonError, parseJson } from '../files/json';
import { recogniseFile } from '../files/recognise_file';

/** Larger files are no configurations. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Reads a JSON file.
 *
 * @throws TesseraeError `ERR_CONFIG` for a file that can't be read, and, with its line and column, for a syntax error, a
 * name that is there twice and an integer beyond 2^53.
 */
export async function readJson(file: string): Promise<unknown> {
  // Not readFile: a device or a pipe may have no end.
  const stream = createReadStream(file, { encoding: 'utf8', end: MOST_BYTES });
  let text: string;
  try {
    text = (await stream.toArray()).join('');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const known: Readonly<Record<string, string>> = {
      ENOENT: 'there is no such file',
      EISDIR: 'it is a folder; give the JSON file',
    };
    const why = known[code ?? ''] ?? message;
    throw new TesseraeError('ERR_CONFIG', `${file} could not be read: ${why}`, { details: { file }, cause });
  }
  if (stream.bytesRead > MOST_BYTES)
    throw new TesseraeError(
      'ERR_CONFIG',
      `${file} is too large for a configuration: it has more than ${MOST_BYTES} bytes`,
      { details: { file } },
    );
  try {
    return parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    const other = text === '' ? undefined : await recogniseFile(file, 'JSON');
    if (other !== undefined)
      throw new TesseraeError('ERR_CONFIG', `${file} is no configuration: it is ${other}`, {
        details: { file },
        cause,
      });
    const { line, column, why } = cause;
    throw new TesseraeError('ERR_CONFIG', `${file}:${line}:${column}: ${why}`, {
      details: { file, line, column },
      cause,
    });
  }
}
