import { isUtf8 } from 'node:buffer';
/**
 * A text in memory and the crops that are drawn from it. Runs in a worker thread, so that JavaScript's main thread never
 * waits for it.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { TesseraeError } from '../errors';
import { drawIndex } from './philox';
import type { BatchRequest } from './dataset';

export interface TextOptions {
  readonly paths: readonly string[];
  readonly blockSize: number;
  readonly validationFraction: number;
}

export type SplitName = 'train' | 'validation';

/** Tokens of each part of a text. */
export interface TextSizes {
  readonly train: number;
  readonly validation: number;
}

/** Rows of equal length, one after the other; each target is the token after its position. */
export interface Crops {
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
  readonly rows: number;
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
    const validation = Math.floor(bytes.length * validationFraction);
    const train = bytes.length - validation;
    this.splits = { train: bytes.subarray(0, train), validation: bytes.subarray(train) };
    if (train <= blockSize || (validationFraction > 0 && validation <= blockSize)) {
      const needed = neededLength(blockSize, validationFraction);
      const split = validationFraction > 0 ? ` and validationFraction ${validationFraction}` : '';
      throw new TesseraeError(
        'ERR_DATA',
        `the text has ${bytes.length} tokens, but with blockSize ${blockSize}${split} it must have at least ${needed}: ` +
          `use a longer text${blockSize > 1 ? ', a smaller blockSize' : ''}` +
          `${validationFraction > 0 ? ' or validationFraction 0' : ''}`,
        { details: { tokens: bytes.length, needed } },
      );
    }
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

  /** Random crops; row r of a micro-step is sample microStep · rows + r of its step. */
  crops(split: SplitName, { seed, step, microStep, rows }: BatchRequest): Crops {
    const choices = this.splits[split].length - this.blockSize;
    return this.cut(
      split,
      Array.from({ length: rows }, (_, r) => drawIndex(seed, step, microStep * rows + r, choices)),
    );
  }

  /** Batch `index` of those that `batches` batches of `rows` rows make of evenly spread windows, or undefined. */
  windows(split: SplitName, index: number, rows: number, batches: number): Crops | undefined {
    const total = Math.floor((this.splits[split].length - 1) / this.blockSize);
    const used = Math.min(total, rows * batches);
    const first = index * rows;
    if (first >= used) return undefined;
    const count = Math.min(rows, used - first);
    return this.cut(
      split,
      Array.from({ length: count }, (_, r) => Math.floor(((first + r) * total) / used) * this.blockSize),
    );
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

/** The shortest text of which both parts have blockSize + 1 tokens. */
function neededLength(blockSize: number, fraction: number): number {
  const fits = (length: number): boolean => {
    const validation = Math.floor(length * fraction);
    return length - validation > blockSize && (fraction === 0 || validation > blockSize);
  };
  let length = Math.ceil((blockSize + 1) / (fraction === 0 ? 1 : Math.min(fraction, 1 - fraction)));
  // The division and the product are rounded apart: at most a token or two off.
  while (!fits(length)) length++;
  while (length > 1 && fits(length - 1)) length--;
  return length;
}

async function readText(path: string): Promise<Uint8Array> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'does not exist' : `cannot be opened (${code ?? String(cause)})`;
    throw new TesseraeError('ERR_DATA', `the text file '${path}' ${why}`, { details: { path }, cause });
  }
  try {
    return await readAll(file, path);
  } finally {
    await file.close();
  }
}

async function readAll(file: FileHandle, path: string): Promise<Uint8Array> {
  const refuse = (why: string, details = {}): never => {
    throw new TesseraeError('ERR_DATA', `the text file '${path}' ${why}`, { details: { path, ...details } });
  };
  const stat = await file.stat();
  if (stat.isDirectory()) refuse('is a directory: give the files in it one by one');
  if (!stat.isFile()) refuse('is not a regular file');
  if (stat.size === 0) refuse('is empty');
  const bytes = Buffer.alloc(stat.size);
  let size = 0;
  while (size < bytes.length) {
    const { bytesRead } = await file.read(bytes, size, Math.min(READ_BYTES, bytes.length - size), size);
    if (bytesRead === 0) break;
    size += bytesRead;
  }
  const read = bytes.subarray(0, size);
  const nul = read.indexOf(0);
  if (nul >= 0)
    refuse(`is not text: it has a NUL byte at offset ${nul}. Give a UTF-8 file (convert UTF-16 with iconv)`, {
      offset: nul,
    });
  if (!isUtf8(read)) refuse('is not UTF-8 text: convert it (iconv -t UTF-8), or give another file');
  return read;
}
