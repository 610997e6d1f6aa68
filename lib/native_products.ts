/** Matrix products: those of a plan, and how native code measures one. */

/** What a matrix product does with its fp32 sums before it stores them, besides rounding. */
export interface ProductPiece {
  /**
   * `bias` adds a vector to each row, `keepInput` also stores the argument of the activation that follows, `activation` applies
   * a function, and `slope` multiplies by the derivative of a function at a stored argument. `columnSums` also stores the sums
   * of the columns, 32 rows at a time, `rowScale` multiplies each row by a number, and `exponentials` stores e^(x − a number of
   * the row) and its sums.
   */
  readonly kind: 'bias' | 'keepInput' | 'activation' | 'slope' | 'columnSums' | 'rowScale' | 'exponentials';
  /** The function of an activation or a slope: 'gelu_new', 'relu', …. */
  readonly function?: string;
}

/** A matrix product C = A B of a linear layer y = x Wᵀ, whose weight W is stored as (out, in). */
export interface MatrixProduct {
  /**
   * `forward`: x Wᵀ, with m rows, n = out, k = in. `inputGradient`: dy W, with m rows, n = in, k = out. `weightGradient`: dyᵀ x,
   * with m = out, n = in, k rows.
   */
  readonly layout: 'forward' | 'inputGradient' | 'weightGradient';
  /** Rows of C, with padding. */
  readonly m: number;
  /** Columns of C, with padding. */
  readonly n: number;
  /** Length of the sums, with padding. */
  readonly k: number;
  /** What is fused into it, in order. */
  readonly pieces: readonly ProductPiece[];
  /** Type of C: 'float32', 'bfloat16' or 'float16'. */
  readonly result: string;
}

/** One way to compute a product, and the seconds of one product in each round. */
export interface MeasuredProduct {
  /** The kernel: 'sm90 128 × 192', 'cuBLASLt 1' for the library's first choice, 'cuBLASLt 1 + activation', 'oneDNN'. */
  readonly name: string;
  readonly seconds: readonly number[];
  /** Why it could not run; `seconds` is then empty. */
  readonly error?: string;
}
