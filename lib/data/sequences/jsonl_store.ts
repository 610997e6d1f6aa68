import { closeSync, readSync } from 'node:fs';
import { TesseraeError } from '../../errors';
import { recogniseFileSync } from '../../files/recognise_file';
import { openFileSync, unopened } from '../../files/regular_file';
import { Numbers } from './numbers';
import { checkSequence, KEYS, type CheckedSequence, type SequenceRules } from './sequence';
import { Census, refusal, type SequenceStore } from './store';
import type { StartCounts } from './starts';

/** Longer lines, in bytes, are refused. Five arrays of 2^20 numbers of five digits are shorter. */
const LONGEST_LINE = 2 ** 25;

/** Bytes to read at once; doubled as needed for longer lines. */
const READ_BYTES = 2 ** 20;

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/**
 * Reads JSONL files with one sequence per line. Each file is read and checked once; later, lines are read from the file when
 * needed. Takes 16 bytes of memory per sequence, however long the lines. Reads block, so it runs in a worker thread.
 */
export class JsonlStore implements SequenceStore {
  readonly lengths: Int32Array;
  readonly starts: StartCounts;
  readonly hasTargets: boolean;

  private constructor(
    private readonly files: readonly OpenFile[],
    private readonly rules: SequenceRules,
    census: Census,
  ) {
    this.lengths = census.lengths();
    this.starts = census.starts;
    this.hasTargets = census.hasTargets;
  }

  /** @throws TesseraeError `ERR_DATA` with `details.path` and, for an error in a line, `details.line` from 1. */
  static open(paths: readonly string[], rules: SequenceRules): JsonlStore {
    const files: OpenFile[] = [];
    const census = new Census(rules);
    try {
      for (const path of paths) {
        const file = new OpenFile(path, census.count);
        files.push(file);
        file.scan((text, refuse, torn) => {
          const told = census.count === file.firstSequence ? withKind(path, refuse) : refuse;
          parseLine(text, told, (value) => census.add(value, refuse), torn);
        });
      }
    } catch (error) {
      for (const file of files) file.close();
      throw error;
    }
    return new JsonlStore(files, rules, census);
  }

  values(sequence: number): Int32Array {
    const file = this.files.findLast(({ firstSequence }) => firstSequence <= sequence) as OpenFile;
    const { text, offset } = file.line(sequence - file.firstSequence);
    const { path } = file;
    const changed = refusal(`the line at byte ${offset} of '${path}'`, { path, offset });
    const check = (value: unknown): CheckedSequence => checkSequence(value, this.rules, changed);
    const { length, values } = parseLine(text, changed, check);
    if (length !== this.lengths[sequence])
      changed(`has ${length} tokens now: the file changed since it was opened`);
    return values;
  }

  close(): void {
    for (const file of this.files) file.close();
  }
}

class OpenFile {
  private readonly descriptor: number;
  private readonly offsets = new Numbers(Float64Array);
  private readonly bytes = new Numbers(Uint32Array);

  /** @param firstSequence - the number of its first sequence among all files. */
  constructor(
    readonly path: string,
    readonly firstSequence: number,
  ) {
    try {
      this.descriptor = openFileSync(path);
    } catch (cause) {
      throw unopened(`the file of sequences '${path}'`, path, cause);
    }
  }

  /** Calls `use` with every line that is not blank, and records its offset. `torn`: no newline ends it. */
  scan(use: (text: string, refuse: (why: string) => never, torn: boolean) => void): void {
    const { path } = this;
    let buffer = Buffer.allocUnsafe(READ_BYTES);
    let start = 0; // where in the file the buffer begins
    let filled = 0; // bytes of a line that has not ended yet
    let line = 0;
    const take = (from: number, to: number, torn: boolean): void => {
      line++;
      const text = buffer.toString('utf8', from, to);
      if (text.trim() === '') return;
      use(text, refusal(`${path}:${line}`, { path, line }), torn);
      this.offsets.push(start + from);
      this.bytes.push(to - from);
    };
    for (;;) {
      const read = this.read(buffer, filled, start + filled);
      if (start + filled === 0 && BYTE_ORDER_MARK.every((byte, i) => i < read && buffer[i] === byte))
        buffer.fill(' ', 0, BYTE_ORDER_MARK.length);
      const end = filled + read;
      if (read === 0) {
        if (filled > 0) take(0, filled, true);
        return;
      }
      let from = 0;
      const lines = buffer.subarray(0, end);
      for (let at = lines.indexOf(NEWLINE, filled); at >= 0; at = lines.indexOf(NEWLINE, from)) {
        take(from, at, false);
        from = at + 1;
      }
      buffer.copyWithin(0, from, end);
      start += from;
      filled = end - from;
      if (filled === buffer.length) {
        if (filled >= LONGEST_LINE)
          refusal(`${path}:${line + 1}`, { path, line: line + 1 })(
            `has more than ${LONGEST_LINE} bytes: write one sequence per line`,
          );
        buffer = Buffer.concat([buffer], 2 * filled);
      }
    }
  }

  /** Line `index` of those that are not blank. */
  line(index: number): { text: string; offset: number } {
    const offset = this.offsets.at(index);
    const buffer = Buffer.allocUnsafe(this.bytes.at(index));
    let filled = 0;
    while (filled < buffer.length) {
      const read = this.read(buffer, filled, offset + filled);
      if (read === 0)
        refusal(`the file of sequences '${this.path}'`, { path: this.path, offset })(
          `ends inside the line at byte ${offset}: it was truncated since it was opened`,
        );
      filled += read;
    }
    return { text: buffer.toString('utf8').replace(/^\uFEFF/, ''), offset };
  }

  close(): void {
    closeSync(this.descriptor);
  }

  private read(buffer: Buffer, at: number, position: number): number {
    try {
      return readSync(this.descriptor, buffer, at, buffer.length - at, position);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      const { path } = this;
      throw new TesseraeError(
        'ERR_DATA',
        `'${path}' can't be read at byte ${position} (${code ?? String(cause)})`,
        {
          details: { path, offset: position },
          cause,
        },
      );
    }
  }
}

/** Adds the type of the file, if known, to an error about its first line. */
const withKind =
  (path: string, refuse: (why: string) => never) =>
  (why: string): never => {
    const what = recogniseFileSync(path, 'JSON');
    return refuse(what === undefined ? why : `${why}. The file is ${what}`);
  };

/** Parses a line and passes its value to `check`. A valid value has no strings but its keys, and one array per key. */
function parseLine(
  text: string,
  refuse: (why: string) => never,
  check: (value: unknown) => CheckedSequence,
  torn = false,
): CheckedSequence {
  // Checked before parsing: a line of brackets alone would take a hundred times its size.
  if (countOf('[', text) > KEYS.length || countOf('{', text) > 1)
    refuse('is nested: a sequence is one object, and its values are arrays of integers');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    if (torn)
      refuse('is the last line, and incomplete: the file was cut off. Write it again, or remove the line');
    return refuse(`is not JSON: ${(cause as Error).message}`);
  }
  const checked = check(value);
  // JSON.parse keeps the last of two equal keys.
  if (countOf('"', text) !== 2 * Object.keys(value as object).length) refuse('has a key twice');
  return checked;
}

function countOf(character: string, text: string): number {
  let count = 0;
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + 1)) count++;
  return count;
}
