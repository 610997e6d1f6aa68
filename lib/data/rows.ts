/** Decides which rows are drawn from a stream of tokens. Pure functions for texts in memory and for token files. */
import { TesseraeError } from '../errors';
import type { PackedBatch } from '../models/packed_batch';
import type { EvaluationRequest } from './batch_source';
import type { BatchRequest } from './dataset';
import { drawIndex } from './philox';

export type SplitName = 'train' | 'validation';

/** Tokens of each part of a text. */
export interface TextSizes {
  /** Tokens to learn from. */
  readonly train: number;
  /** Tokens kept for validation; 0: none. */
  readonly validation: number;
}

/**
 * Rows of blockSize tokens from these offsets on; each target is the token after its position.
 *
 * @param rows - of the program: the last batch of an evaluation may have fewer.
 * @param read - reads a row and the token after it.
 */
export function cropBatch(
  offsets: readonly number[],
  { rows, blockSize }: { readonly rows: number; readonly blockSize: number },
  read: (offset: number, into: Int32Array) => void,
): PackedBatch {
  const tokens = new Int32Array(offsets.length * blockSize);
  const targets = new Int32Array(offsets.length * blockSize);
  const row = new Int32Array(blockSize + 1);
  offsets.forEach((offset, r) => {
    read(offset, row);
    tokens.set(row.subarray(0, blockSize), r * blockSize);
    targets.set(row.subarray(1), r * blockSize);
  });
  return {
    capacity: { rows, lengths: { time: blockSize } },
    rows: offsets.length,
    inputs: { tokens, targets },
  };
}

/** Where the rows of a batch of random crops begin; row r of a micro-step is sample microStep · rows + r of its step. */
export function cropOffsets(
  { seed, step, microStep, rows }: BatchRequest,
  length: number,
  blockSize: number,
): number[] {
  return Array.from({ length: rows }, (_, r) =>
    drawIndex(seed, step, microStep * rows + r, length - blockSize),
  );
}

/** Batch `index` of at most `batches` batches of `rows` evenly spread windows, or undefined after the last. */
export function windowOffsets(
  { index, rows, batches }: EvaluationRequest,
  length: number,
  blockSize: number,
): number[] | undefined {
  const total = Math.floor((length - 1) / blockSize);
  const used = Math.min(total, rows * batches);
  const first = index * rows;
  if (first >= used) return undefined;
  const count = Math.min(rows, used - first);
  return Array.from({ length: count }, (_, r) => Math.floor(((first + r) * total) / used) * blockSize);
}

/**
 * Tokens of each part, when the last `fraction` is kept for validation.
 *
 * @param what - the start of error messages: "the text has", "the token files have".
 * @throws TesseraeError `ERR_DATA` if a part is too short for one row.
 */
export function splitSizes(tokens: number, blockSize: number, fraction: number, what: string): TextSizes {
  const validation = Math.floor(tokens * fraction);
  const train = tokens - validation;
  if (train <= blockSize || (fraction > 0 && validation <= blockSize)) {
    const needed = neededLength(blockSize, fraction);
    const split = fraction > 0 ? ` and validationFraction ${fraction}` : '';
    throw new TesseraeError(
      'ERR_DATA',
      `${what} ${tokens} tokens, but with blockSize ${blockSize}${split} it must have at least ${needed}: ` +
        `use a longer text${blockSize > 1 ? ', a smaller blockSize' : ''}` +
        `${fraction > 0 ? ' or validationFraction 0' : ''}`,
      { details: { tokens, needed } },
    );
  }
  return { train, validation };
}

/** The shortest text whose parts both have blockSize + 1 tokens. */
function neededLength(blockSize: number, fraction: number): number {
  const fits = (length: number): boolean => {
    const validation = Math.floor(length * fraction);
    return length - validation > blockSize && (fraction === 0 || validation > blockSize);
  };
  let length = Math.ceil((blockSize + 1) / (fraction === 0 ? 1 : Math.min(fraction, 1 - fraction)));
  // The division and the product are rounded separately, so the result may be a token or two off.
  while (!fits(length)) length++;
  while (length > 1 && fits(length - 1)) length--;
  return length;
}
