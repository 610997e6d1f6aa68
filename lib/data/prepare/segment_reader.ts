/** Reads the documents of a segment. Runs in a worker thread, where reads may wait. */
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, readSync } from 'node:fs';
import { TesseraeError } from '../../errors';
import type { Cut } from '../json_tokenizer/cuts';
import { withoutMark } from '../text_source';
import { cutFile, type FileCut } from './cut_file';
import { badText, boundary, SEGMENT_BYTES, type Segment } from './segments';

/** A line of JSON that is longer is no document. */
const MOST_LINE_BYTES = 2 ** 26;

/** A line of JSON with more values is no document: 64 MiB of brackets would take 3 GB when they are parsed. */
const MOST_LINE_VALUES = 2 ** 22;

const LINE_FEED = 10;

/** Part of a document; documents end where `ends` says so, the next one begins there. */
export interface DocumentPart {
  readonly text: string;
  readonly ends: boolean;
  /** The cut that it begins at, inside its document. */
  readonly after?: Cut | undefined;
  /** Offset in the file of its first byte, or of the line that has it. */
  readonly offset: number;
}

/** What finds cuts that change no tokens. */
export interface Cutter {
  /** A text without a cut in so many characters can't be read. */
  readonly most: number;
  cut(text: string, from: number, to: number): Promise<Cut | undefined>;
}

/**
 * The documents, or the part of one, that a segment has.
 *
 * @param textKey - where JSON lines have their text.
 * @param cutter - of a tokenizer whose tokens depend on what is around them; others are cut at any character.
 * @throws TesseraeError `ERR_DATA` with path, line and offset for bytes that are not UTF-8 text, and for lines that are
 * not JSON or have no text.
 */
export async function* readSegment(
  segment: Segment,
  textKey: string,
  cutter?: Cutter,
): AsyncGenerator<DocumentPart> {
  const descriptor = system(segment, 0, () => openSync(segment.path, 'r'));
  try {
    if (segment.kind === 'text') yield await textPart(descriptor, segment, cutter);
    else yield* jsonLines(descriptor, segment, textKey);
  } finally {
    closeSync(descriptor);
  }
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
    // A document that was cut where it ends anyway has no second half.
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
    const text = textOf(line.toString('utf8'), textKey, (why) => {
      throw badText({ path: segment.path, offset, line: lineAt(descriptor, segment, offset) }, why);
    });
    if (text !== '') yield { text, ends: true, offset };
    start = end + 1;
  }
}

/** The bytes with those of the last line that are beyond the segment. */
function withLastLine(descriptor: number, segment: Segment, given: Buffer, base: number): Buffer {
  const parts = [given];
  let [size, last] = [given.length, given];
  const ended = (): boolean => (last === given ? last.at(-1) === LINE_FEED : last.includes(LINE_FEED));
  while (!ended() && base + size < segment.bytes) {
    if (size - given.length > MOST_LINE_BYTES) {
      const offset = base + given.lastIndexOf(LINE_FEED) + 1;
      throw badText(
        { path: segment.path, offset, line: lineAt(descriptor, segment, offset) },
        `is longer than ${MOST_LINE_BYTES} bytes: give one JSON object a line`,
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
    return refuse(`has more than ${MOST_LINE_VALUES} values: give one JSON object with a text a line`);
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch (error) {
    return refuse(`is not JSON: ${(error as Error).message.slice(0, 200)}`);
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record))
    return refuse('is not a JSON object');
  const text: unknown = Object.hasOwn(record, key) ? (record as Record<string, unknown>)[key] : undefined;
  if (typeof text === 'string') return text;
  const names = Object.keys(record)
    .slice(0, 10)
    .map((name) => JSON.stringify(name.slice(0, 50)));
  return refuse(
    `has ${text === undefined ? 'no' : 'something that is no text as'} ${JSON.stringify(key)}: its keys are ` +
      `${names.join(', ') || 'none'}. Name the one that has the text with --text-key`,
  );
}

/** Whether JSON that nothing has been built of yet has more than so many arrays, objects and values in them. */
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

/** Where text in JSON ends that begins at `start`. */
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
        `the input '${path}' was cut off while it was read: it ends before offset ${from + done}, but had ${length} bytes. ` +
          'Start again when nothing writes to it',
        { details: { path, offset: from + done } },
      );
    done += got;
  }
  return bytes;
}

/** What the system refuses is told with the input that it is about. */
function system<T>({ path }: Segment, offset: number, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw new TesseraeError(
      'ERR_DATA',
      `the input '${path}' could not be read at offset ${offset}: ${(cause as Error).message}`,
      { details: { path, offset }, cause },
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
  throw badText(
    { path: segment.path, offset: offset + at, line: lineAt(descriptor, segment, offset + at) },
    nul >= 0
      ? 'has a NUL byte: give UTF-8 text (convert UTF-16 with iconv)'
      : 'is not UTF-8 text: convert it (iconv -t UTF-8)',
  );
}

/** The line, from 1, that an offset of a segment's file is in. */
export function lineOf(segment: Segment, offset: number): number {
  const descriptor = system(segment, 0, () => openSync(segment.path, 'r'));
  try {
    return lineAt(descriptor, segment, offset);
  } finally {
    closeSync(descriptor);
  }
}

/** The line, from 1, that an offset is in: counted only when something is wrong. */
function lineAt(descriptor: number, segment: Segment, offset: number): number {
  let line = 1;
  for (let from = 0; from < offset; from += SEGMENT_BYTES)
    for (const byte of read(descriptor, segment, from, Math.min(from + SEGMENT_BYTES, offset)))
      if (byte === LINE_FEED) line++;
  return line;
}
