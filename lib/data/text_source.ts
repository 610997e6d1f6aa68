/**
 * A text in memory and the crops that are drawn from it. Runs in a worker thread, so that JavaScript's main thread never
 * waits for it.
 */
import { constants, isUtf8 } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { TesseraeError } from '../errors';
import { recognise, recogniseUnmeant } from '../files/recognise';
import { openFile, unopened } from '../files/regular_file';
import type { BatchRequest } from './dataset';
import { cropOffsets, splitSizes, windowOffsets, type Crops, type SplitName, type TextSizes } from './rows';

export interface TextOptions {
  readonly paths: readonly string[];
  readonly blockSize: number;
  readonly validationFraction: number;
}

/** Reads of a file are cut into pieces of this many bytes: one read moves at most 2 GiB. */
const READ_BYTES = 2 ** 30;

export class TextSource {
  private readonly splits: Readonly<Record<SplitName, Uint8Array>>;

  /** @throws TesseraeError `ERR_DATA` when a part is too short for one row. */
  constructor(
    bytes: Uint8Array,
    private readonly blockSize: number,
    validationFraction: number,
  ) {
    const { train } = splitSizes(bytes.length, blockSize, validationFraction, 'the text has');
    this.splits = { train: bytes.subarray(0, train), validation: bytes.subarray(train) };
  }

  /** Reads files and joins them in order. */
  static async open({ paths, blockSize, validationFraction }: TextOptions): Promise<TextSource> {
    const files: Uint8Array[] = [];
    for (const path of paths) files.push(await readText(path));
    return new TextSource(
      files.length === 1 && files[0] ? files[0] : Buffer.concat(files),
      blockSize,
      validationFraction,
    );
  }

  get sizes(): TextSizes {
    return { train: this.splits.train.length, validation: this.splits.validation.length };
  }

  /** Random crops. */
  crops(split: SplitName, request: BatchRequest): Crops {
    return this.cut(split, cropOffsets(request, this.splits[split].length, this.blockSize));
  }

  /** Windows for evaluation, or undefined after the last batch. */
  windows(split: SplitName, index: number, rows: number, batches: number): Crops | undefined {
    const offsets = windowOffsets({ index, rows, batches }, this.splits[split].length, this.blockSize);
    return offsets && this.cut(split, offsets);
  }

  private cut(split: SplitName, offsets: readonly number[]): Crops {
    const bytes = this.splits[split];
    const { blockSize } = this;
    const tokens = new Int32Array(offsets.length * blockSize);
    const targets = new Int32Array(offsets.length * blockSize);
    offsets.forEach((offset, r) => {
      tokens.set(bytes.subarray(offset, offset + blockSize), r * blockSize);
      targets.set(bytes.subarray(offset + 1, offset + 1 + blockSize), r * blockSize);
    });
    return { tokens, targets, rows: offsets.length };
  }
}

/**
 * The bytes of a UTF-8 text file, without the byte order mark that it may begin with.
 *
 * @throws TesseraeError `ERR_DATA` for a file that is missing, empty or not text.
 */
export async function readText(path: string): Promise<Uint8Array> {
  let file: FileHandle;
  try {
    file = await openFile(path);
  } catch (cause) {
    throw unopened(`the text file '${path}'`, path, cause);
  }
  try {
    return await readAll(file, path);
  } finally {
    await file.close();
  }
}

/** A file's first three bytes may say that it is UTF-8; they are no text. */
export function withoutMark(bytes: Buffer): Buffer {
  const isMarked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return isMarked ? bytes.subarray(3) : bytes;
}

async function readAll(file: FileHandle, path: string): Promise<Uint8Array> {
  const refuse = (why: string, details = {}): never => {
    throw new TesseraeError('ERR_DATA', `the text file '${path}' ${why}`, { details: { path, ...details } });
  };
  const stat = await file.stat();
  if (stat.size === 0) refuse('is empty');
  if (stat.size > constants.MAX_LENGTH)
    refuse(`has ${stat.size} bytes, more than fit in memory: make token files of it with tesserae prepare`);
  const bytes = Buffer.alloc(stat.size);
  let size = 0;
  while (size < bytes.length) {
    const { bytesRead } = await file.read(bytes, size, Math.min(READ_BYTES, bytes.length - size), size);
    if (bytesRead === 0) break;
    size += bytesRead;
  }
  const whole = bytes.subarray(0, size);
  const unmeant = recogniseUnmeant(whole, 'text');
  if (unmeant !== undefined) refuse(`is ${unmeant}`);
  const read = withoutMark(whole);
  if (read.length === 0) refuse('is empty');
  const nul = read.indexOf(0);
  const offset = nul + size - read.length;
  const other = nul >= 0 || !isUtf8(read) ? recognise(whole, 'text') : undefined;
  if (other !== undefined) refuse(`is not text: it is ${other}`, nul >= 0 ? { offset } : {});
  if (nul >= 0)
    refuse(
      `is not text: it has a NUL byte at offset ${offset}. Give a UTF-8 file (convert UTF-16 with iconv)`,
      {
        offset,
      },
    );
  if (!isUtf8(read)) refuse('is not UTF-8 text: convert it (iconv -t UTF-8), or give another file');
  return read;
}
