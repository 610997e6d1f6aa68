import type { DatasetBatch } from './dataset';

/**
 * Tokens in memory, to be evaluated on: rows of blockSize tokens that follow one another, the last one shorter, so that
 * each token but the first is a target once.
 */
export class TokenWindows {
  constructor(
    private readonly ids: Int32Array,
    readonly blockSize: number,
  ) {}

  /** At most `batches` batches of at most `rows` rows, from the start. */
  async *evaluationBatches(rows: number, batches: number): AsyncGenerator<DatasetBatch> {
    const targets = this.ids.length - 1;
    for (let batch = 0, at = 0; batch < batches && at < targets; batch++, at += rows * this.blockSize)
      yield await Promise.resolve(this.rowsAt(at, Math.min(rows * this.blockSize, targets - at)));
  }

  /** Rows with `count` targets, from token `at` on. */
  private rowsAt(at: number, count: number): DatasetBatch {
    const { blockSize } = this;
    const rows = Math.ceil(count / blockSize);
    const padded = (from: number): Int32Array => {
      const values = new Int32Array(rows * blockSize);
      values.set(this.ids.subarray(from, from + count));
      return values;
    };
    const lengths = Array.from({ length: rows }, (_, row) => Math.min(blockSize, count - row * blockSize));
    return { tokens: padded(at), targets: padded(at + 1), lengths, rows };
  }
}
