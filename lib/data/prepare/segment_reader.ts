/** Reads the documents of a segment. Runs in a worker thread, where reads may wait. */
import { isUtf8 } from 'node:buffer';
import { closeSync, readSync } from 'node:fs';
import { exhaustedError, messageOf, TesseraeError } from '../../errors';
import { JsonError, parseJson } from '../../files/json';
import { recogniseUnmeant, RECOGNISED_BYTES } from '../../files/recognise';
import { recogniseFileSync } from '../../files/recognise_file';
import { openFileSync } from '../../files/regular_file';
import type { Cut } from '../json_tokenizer/cuts';
import { withoutMark } from '../text_source';
import { cutFile, type FileCut } from './cut_file';
import { ArrayScanner } from './json_array';
import { badText, boundary, SEGMENT_BYTES, type Segment } from './segments';

/** Longer lines of JSON are refused. */
const MOST_LINE_BYTES = 2 ** 26;

/** Lines of JSON with more values are refused: parsing 64 MiB of brackets would take 3 GB. */
const MOST_LINE_VALUES = 2 ** 22;

const LINE_FEED = 10;

/** Part of a document. If `ends` is true, the document ends with this part. */
export interface DocumentPart {
  readonly text: string;
  readonly ends: boolean;
  /** The cut inside its document at which it begins. */
  readonly after?: Cut | undefined;
  /** Offset in the file of its first byte, or of the line that has it. */
  readonly offset: number;
}

/** Finds cuts that change no tokens. */
export interface Cutter {
  /** A text without a cut in this many characters can't be read. */
  readonly most: number;
  cut(text: string, from: number, to: number): Promise<Cut | undefined>;
}

/**
 * The documents of a segment, or the part of a document.
 *
 * @param textKey - the key of the text in JSON lines.
 * @param cutter - of a tokenizer whose tokens depend on what is around them; others are cut at any character.
 * @throws TesseraeError `ERR_DATA` with path, line and offset for bytes that are not UTF-8 text, and for lines that are
 * not JSON or have no text.
 */
export async function* readSegment(
  segment: Segment,
  textKey: string,
  cutter?: Cutter,
): AsyncGenerator<DocumentPart> {
  const descriptor = system(segment, 0, () => openFileSync(segment.path));
  try {
    if (segment.from === 0) requireMeant(descriptor, segment);
    if (segment.kind === 'text') yield await textPart(descriptor, segment, cutter);
    else if (segment.kind === 'array') yield* arrayElements(descriptor, segment, textKey);
    else yield* jsonLines(descriptor, segment, textKey);
  } finally {
    closeSync(descriptor);
  }
}

/** @throws TesseraeError `ERR_DATA` for a text file of the wrong kind. */
function requireMeant(descriptor: number, segment: Segment): void {
  const { path } = segment;
  const what = recogniseUnmeant(read(descriptor, segment, 0, RECOGNISED_BYTES), 'text');
  if (what !== undefined) throw badText({ path, offset: 0, line: 1 }, `is not text: the file is ${what}`);
}

async function textPart(descriptor: number, segment: Segment, cutter?: Cutter): Promise<DocumentPart> {
  const { path, from, to, documentFrom, documentTo, endsDocument } = segment;
  const [begins, ends] = [
    documentEnd(descriptor, segment, documentFrom),
    documentEnd(descriptor, segment, documentTo),
  ];
  const cut = async (at: number): Promise<FileCut> => {
    if (at === documentFrom) return { offset: begins };
    if (at === documentTo) return { offset: ends };
    if (!cutter) return { offset: Math.min(documentEnd(descriptor, segment, at), ends) };
    return cutFile((start, end) => read(descriptor, segment, start, end), { path, at, begins, ends }, cutter);
  };
  const [first, last] = [await cut(from), await cut(to)];
  const { offset: start } = first;
  const end = Math.max(start, last.offset);
  const own = read(descriptor, segment, start, end);
  const bytes = start === 0 ? withoutMark(own) : own;
  checkText(descriptor, segment, bytes, end - bytes.length);
  return {
    text: bytes.toString('utf8'),
    // A document cut exactly at its end has no second half.
    ends: endsDocument && end > begins,
    after: first.cut,
    offset: end - bytes.length,
  };
}

/** Where a document ends whose nominal end is `at`. */
function documentEnd(descriptor: number, segment: Segment, at: number): number {
  if (at === 0 || at >= segment.bytes) return at;
  const base = Math.max(at - 2, 0);
  return boundary(
    { bytes: read(descriptor, segment, base, at + SEGMENT_BYTES), base, length: segment.bytes },
    at,
  );
}

function* jsonLines(descriptor: number, segment: Segment, textKey: string): Generator<DocumentPart> {
  const { from, to } = segment;
  const base = Math.max(from - 1, 0);
  let bytes = read(descriptor, segment, base, to);
  // A line belongs to the segment that it begins in.
  let start = from === 0 ? 0 : bytes.indexOf(LINE_FEED) + 1;
  if (from > 0 && (start === 0 || base + start >= to)) return;
  bytes = withLastLine(descriptor, segment, bytes, base);
  while (start < bytes.length && base + start < to) {
    const feed = bytes.indexOf(LINE_FEED, start);
    const end = feed < 0 ? bytes.length : feed;
    const offset = base + start;
    const own = bytes.subarray(start, end);
    const line = offset === 0 ? withoutMark(own) : own;
    checkText(descriptor, segment, line, base + end - line.length);
    yield* documentOf(descriptor, segment, { json: line, offset, textKey });
    start = end + 1;
  }
}

/** The elements of a JSON array that begin in a segment. */
function* arrayElements(descriptor: number, segment: Segment, textKey: string): Generator<DocumentPart> {
  const { from, to, bytes: length, anchor = length } = segment;
  for (let end = to + SEGMENT_BYTES; anchor < length; end += end - anchor) {
    const bytes = read(descriptor, segment, anchor, end);
    const scanner = new ArrayScanner((why, offset) => {
      throw badText({ path: segment.path, offset, line: lineAt(descriptor, segment, offset) }, why);
    }, true);
    const found = [...scanner.scan(bytes, anchor)].filter((one) => one.from >= from && one.from < to);
    // An element that begins here and ends further on: it is read once more with what follows.
    if (scanner.unfinished !== undefined && scanner.unfinished < to && end < length) {
      if (end - scanner.unfinished > MOST_LINE_BYTES)
        throw badText({ path: segment.path, offset: scanner.unfinished }, TOO_LONG);
      continue;
    }
    for (const element of found) {
      const json = bytes.subarray(element.from - anchor, element.to - anchor);
      checkText(descriptor, segment, json, element.from);
      yield* documentOf(descriptor, segment, { json, offset: element.from, textKey });
    }
    return;
  }
}

const TOO_LONG = `is longer than ${MOST_LINE_BYTES} bytes: write one JSON object per document`;

/** The text of a JSON object, if it has one. */
function* documentOf(
  descriptor: number,
  segment: Segment,
  { json, offset, textKey }: { readonly json: Uint8Array; readonly offset: number; readonly textKey: string },
): Generator<DocumentPart> {
  const text = textOf(Buffer.from(json).toString('utf8'), textKey, (why) => {
    const what = offset === 0 ? recogniseFileSync(segment.path, 'JSON') : undefined;
    const told = what === undefined ? why : `${why}. The file is ${what}`;
    throw badText({ path: segment.path, offset, line: lineAt(descriptor, segment, offset) }, told);
  });
  if (text !== '') yield { text, ends: true, offset };
}

/** The bytes, and the rest of the last line, which lies beyond the segment. */
function withLastLine(descriptor: number, segment: Segment, given: Buffer, base: number): Buffer {
  const parts = [given];
  let [size, last] = [given.length, given];
  const ended = (): boolean => (last === given ? last.at(-1) === LINE_FEED : last.includes(LINE_FEED));
  while (!ended() && base + size < segment.bytes) {
    if (size - given.length > MOST_LINE_BYTES) {
      const offset = base + given.lastIndexOf(LINE_FEED) + 1;
      throw badText(
        { path: segment.path, offset, line: lineAt(descriptor, segment, offset) },
        `is longer than ${MOST_LINE_BYTES} bytes: write one JSON object per line`,
      );
    }
    last = read(descriptor, segment, base + size, base + size + SEGMENT_BYTES);
    parts.push(last);
    size += last.length;
  }
  return parts.length === 1 ? given : Buffer.concat(parts);
}

function textOf(line: string, key: string, refuse: (why: string) => never): string {
  if (line.trim() === '') return '';
  if (hasMoreValues(line, MOST_LINE_VALUES))
    return refuse(`has more than ${MOST_LINE_VALUES} values: write one JSON object with a text per line`);
  let record: unknown;
  try {
    record = parseJson(line, { rounds: true });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return refuse(`is not JSON: ${error.why.slice(0, 200)}`);
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record))
    return refuse('is not a JSON object');
  const text: unknown = Object.hasOwn(record, key) ? (record as Record<string, unknown>)[key] : undefined;
  if (typeof text === 'string') return text;
  const names = Object.keys(record)
    .slice(0, 10)
    .map((name) => JSON.stringify(name.slice(0, 50)));
  return refuse(
    `has ${text === undefined ? 'no key' : 'no text in'} ${JSON.stringify(key)}; its keys are ` +
      `${names.join(', ') || 'none'}. Name the key of the text with --text-key`,
  );
}

/** Whether unparsed JSON has more arrays, objects and values than the limit. */
function hasMoreValues(json: string, most: number): boolean {
  if (json.length <= most) return false;
  let count = 0;
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (character === '"') at = endOfText(json, at);
    else if (character === '[' || character === '{' || character === ',') count++;
  }
  return count > most;
}

/** The end of the JSON string that begins at `start`. */
function endOfText(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); end >= 0; end = json.indexOf('"', end + 1)) {
    let escapes = 0;
    while (json[end - 1 - escapes] === '\\') escapes++;
    if (escapes % 2 === 0) return end;
  }
  return json.length;
}

/** Bytes from `from` to `to` or the file's end. */
function read(descriptor: number, segment: Segment, from: number, to: number): Buffer {
  const { path, bytes: length } = segment;
  const bytes = Buffer.allocUnsafe(Math.min(to, length) - from);
  for (let done = 0; done < bytes.length;) {
    const at = from + done;
    const got = system(segment, at, () => readSync(descriptor, bytes, done, bytes.length - done, at));
    if (got === 0)
      throw new TesseraeError(
        'ERR_DATA',
        `the input '${path}' was truncated while it was read: it had ${length} bytes, but ends before offset ${from + done}. ` +
          'Start again when nothing writes to it',
        { details: { path, offset: from + done } },
      );
    done += got;
  }
  return bytes;
}

/** Adds the input to errors of the system. */
function system<T>({ path }: Segment, offset: number, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const failed = `the input '${path}' can't be read at offset ${offset}`;
    throw (
      exhaustedError(failed, cause) ??
      new TesseraeError('ERR_DATA', `${failed}: ${messageOf(cause)}`, { details: { path, offset }, cause })
    );
  }
}

function checkText(descriptor: number, segment: Segment, bytes: Buffer, offset: number): void {
  const nul = bytes.indexOf(0);
  if (nul < 0 && isUtf8(bytes)) return;
  let at = nul;
  for (let start = 0; at < 0;) {
    const feed = bytes.indexOf(LINE_FEED, start);
    const end = feed < 0 ? bytes.length : feed + 1;
    if (feed < 0 || !isUtf8(bytes.subarray(start, end))) at = start;
    start = end;
  }
  const what = recogniseFileSync(segment.path, 'text');
  throw badText(
    { path: segment.path, offset: offset + at, line: lineAt(descriptor, segment, offset + at) },
    what !== undefined
      ? `is not text: the file is ${what}`
      : nul >= 0
        ? 'has a NUL byte: give UTF-8 text (convert UTF-16 with iconv)'
        : 'is not UTF-8 text: convert it (iconv -t UTF-8)',
  );
}

/** The line of an offset in a segment's file, from 1. */
export function lineOf(segment: Segment, offset: number): number {
  const descriptor = system(segment, 0, () => openFileSync(segment.path));
  try {
    return lineAt(descriptor, segment, offset);
  } finally {
    closeSync(descriptor);
  }
}

/** The line of an offset, from 1; counted only for errors. */
function lineAt(descriptor: number, segment: Segment, offset: number): number {
  let line = 1;
  for (let from = 0; from < offset; from += SEGMENT_BYTES)
    for (const byte of read(descriptor, segment, from, Math.min(from + SEGMENT_BYTES, offset)))
      if (byte === LINE_FEED) line++;
  return line;
}
