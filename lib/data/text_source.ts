/**
 * Holds a text in memory and draws crops from it. Runs in a worker thread, so that JavaScript's main thread never waits for
 * it.
 */
import { constants, isUtf8 } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { isExhausted, messageOf, TesseraeError } from '../errors';
import { recognise, recogniseUnmeant } from '../files/recognise';
import { openFile, unopened } from '../files/regular_file';
import type { PackedBatch } from '../models/packed_batch';
import type { BatchSource, EvaluationRequest } from './batch_source';
import type { BatchRequest } from './dataset';
import { cropBatch, cropOffsets, splitSizes, windowOffsets, type SplitName, type TextSizes } from './rows';

export interface TextOptions {
  readonly paths: readonly string[];
  readonly blockSize: number;
  readonly validationFraction: number;
}

/** Bytes per read of a file: one read moves at most 2 GiB. */
const READ_BYTES = 2 ** 30;

export class TextSource implements BatchSource {
  private readonly splits: Readonly<Record<SplitName, Uint8Array>>;

  /** @throws TesseraeError `ERR_DATA` if a part is too short for one row. */
  constructor(
    bytes: Uint8Array,
    private readonly blockSize: number,
    validationFraction: number,
  ) {
    const { train } = splitSizes(bytes.length, blockSize, validationFraction, 'the text has');
    this.splits = { train: bytes.subarray(0, train), validation: bytes.subarray(train) };
  }

  /**
   * Reads files and joins them in order.
   *
   * @throws TesseraeError as readText does; `ERR_OUT_OF_MEMORY` if together they are larger than an array can be.
   */
  static async open({ paths, blockSize, validationFraction }: TextOptions): Promise<TextSource> {
    const files: Uint8Array[] = [];
    for (const path of paths) files.push(await readText(path));
    return new TextSource(joined(files), blockSize, validationFraction);
  }

  get sizes(): TextSizes {
    return { train: this.splits.train.length, validation: this.splits.validation.length };
  }

  /** Random crops. */
  batch(split: SplitName, request: BatchRequest): PackedBatch {
    return this.cut(split, cropOffsets(request, this.splits[split].length, this.blockSize), request.rows);
  }

  /** Windows for evaluation. */
  evaluationBatch(split: SplitName, request: EvaluationRequest): PackedBatch | undefined {
    const offsets = windowOffsets(request, this.splits[split].length, this.blockSize);
    return offsets && this.cut(split, offsets, request.rows);
  }

  private cut(split: SplitName, offsets: readonly number[], rows: number): PackedBatch {
    const bytes = this.splits[split];
    return cropBatch(offsets, { rows, blockSize: this.blockSize }, (offset, into) =>
      into.set(bytes.subarray(offset, offset + into.length)),
    );
  }
}

function joined(files: readonly Uint8Array[]): Uint8Array {
  if (files.length === 1 && files[0]) return files[0];
  try {
    return Buffer.concat(files);
  } catch (cause) {
    if (!(cause instanceof RangeError) || isExhausted(cause)) throw cause;
    throw new TesseraeError('ERR_OUT_OF_MEMORY', `the text does not fit in memory: ${messageOf(cause)}`, {
      cause,
    });
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

/** A file's first three bytes may mark it as UTF-8; they are not text. */
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
    refuse(`has ${stat.size} bytes, more than fit in memory: make token files from it with tesserae prepare`);
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
