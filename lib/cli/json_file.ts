import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { JsonError, parseJson } from '../files/json';
import { recogniseFile } from '../files/recognise_file';
import { NotAFileError, readTextFile } from '../files/regular_file';

/** No configuration is larger. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Reads a JSON file.
 *
 * @throws TesseraeError `ERR_CONFIG` for a file that can't be read and, with line and column, for a syntax error, a
 * duplicate name or an integer beyond 2^53.
 */
export async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readTextFile(file, MOST_BYTES);
  } catch (cause) {
    const known: Readonly<Record<string, string>> = { ENOENT: 'the file does not exist' };
    const isFolder = cause instanceof NotAFileError && cause.isFolder;
    const why = isFolder
      ? 'it is a folder: give a JSON file'
      : (known[(cause as NodeJS.ErrnoException).code ?? ''] ?? messageOf(cause));
    const failed = `${file} can't be read`;
    throw (
      exhaustedError(failed, cause) ??
      new TesseraeError('ERR_CONFIG', `${failed}: ${why}`, { details: { file }, cause })
    );
  }
  try {
    return parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    const other = text === '' ? undefined : await recogniseFile(file, 'JSON');
    if (other !== undefined)
      throw new TesseraeError('ERR_CONFIG', `${file} is not a configuration: it is ${other}`, {
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
