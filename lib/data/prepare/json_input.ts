/** Files called .json: an array of objects, or JSON lines. */
import type { FileHandle } from 'node:fs/promises';
import { TesseraeError } from '../../errors';
import { parseJson } from '../../files/json';
import { recogniseFile } from '../../files/recognise_file';
import { openFile, unopened } from '../../files/regular_file';
import { ArrayScanner } from './json_array';
import { badText, SEGMENT_BYTES } from './segments';

/** The contents of a .json file. */
export type JsonInput =
  | { readonly kind: 'jsonl' }
  /** Offsets of elements of the array, in order, each at least a segment after the one before. */
  | { readonly kind: 'array'; readonly anchors: readonly number[] };

/** Bytes in which the first line of JSON lines ends; a longer one is taken for one. */
const LOOK_BYTES = 2 ** 20;

/**
 * Finds what a .json file contains. An array is scanned once, to know where it may be cut.
 *
 * @throws TesseraeError `ERR_DATA` for anything but an array and JSON lines.
 */
export async function jsonInput(file: string, bytes: number): Promise<JsonInput> {
  if (bytes === 0) return { kind: 'jsonl' };
  const handle = await openFile(file).catch((cause: unknown) => {
    throw unopened(`the input '${file}'`, file, cause);
  });
  try {
    const start = await part(handle, 0, Math.min(LOOK_BYTES, bytes));
    const text = start
      .toString('utf8')
      .replace(/^\uFEFF/, '')
      .trimStart();
    if (text.startsWith('[')) return { kind: 'array', anchors: await anchorsOf(handle, file, bytes) };
    if (text.startsWith('{') && isLine(text, start.length < bytes)) return { kind: 'jsonl' };
    const what = await recogniseFile(file, 'JSON');
    throw new TesseraeError(
      'ERR_DATA',
      `the input '${file}' is neither a JSON array of objects nor JSON lines (one object per line)` +
        (what === undefined
          ? ": convert it, such as with jq -c '.data[]', or rename it to .txt if it is prose"
          : `: it is ${what}`),
      { details: { path: file } },
    );
  } finally {
    await handle.close();
  }
}

/** Whether the first line is a complete object; a line that is too long to check counts as one. */
function isLine(text: string, hasMore: boolean): boolean {
  const end = text.indexOf('\n');
  if (end < 0 && hasMore) return true;
  try {
    parseJson(end < 0 ? text : text.slice(0, end), { rounds: true });
    return true;
  } catch {
    return false;
  }
}

async function anchorsOf(handle: FileHandle, file: string, bytes: number): Promise<number[]> {
  const scanner = new ArrayScanner((why, offset) => {
    throw badText({ path: file, offset }, why);
  }, false);
  const anchors: number[] = [];
  const note = (offset: number | undefined): void => {
    if (offset !== undefined && offset >= (anchors.at(-1) ?? -Infinity) + SEGMENT_BYTES) anchors.push(offset);
  };
  for (let at = 0; at < bytes; at += SEGMENT_BYTES) {
    const piece = await part(handle, at, Math.min(SEGMENT_BYTES, bytes - at));
    const mark = at === 0 && piece[0] === 0xef && piece[1] === 0xbb && piece[2] === 0xbf ? 3 : 0;
    for (const { from } of scanner.scan(piece.subarray(mark), at + mark)) note(from);
    note(scanner.unfinished);
  }
  scanner.end(bytes);
  return anchors;
}

async function part(handle: FileHandle, at: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes);
  let done = 0;
  while (done < bytes) {
    const { bytesRead } = await handle.read(buffer, done, bytes - done, at + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}
