/** Matrix products: their arithmetic, those of a plan, how native code chooses kernels and how it measures a product. */

/**
 * Arithmetic of matrix products; sums, norms, softmax and loss are fp32 in each. `fp32`: the reference, the CPU's only one.
 * `tf32`: products round their inputs to 10 bits of mantissa. `bf16`, `fp16`: tensor cores on 16-bit copies of fp32 weights;
 * fp16 with dynamic loss scaling.
 */
export type Precision = 'fp32' | 'tf32' | 'fp16' | 'bf16';

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

/** A product to measure. */
export interface ProductRequest extends MatrixProduct {
  readonly precision: Precision;
  /** Add to C, as the weight gradients of later micro-batches do. Default false. */
  readonly accumulate?: boolean;
  /** Rounds, in each of which every candidate has its turn: 1 to 1000. */
  readonly rounds: number;
}

/** What chose a kernel: the rule of native code, the table of this release, the cache of `tesserae tune`, or a checkpoint. */
export type KernelSource = 'rule' | 'shipped' | 'cache' | 'checkpoint';

/** An entry of the table that native code chooses kernels by. */
export interface TunedProduct extends NamedKernel {
  readonly precision: Precision;
  /** Seconds of one product. */
  readonly seconds?: number;
  /** Version of cuBLASLt that it was measured with; absent without the library. */
  readonly library?: number;
  readonly source: Exclude<KernelSource, 'rule'>;
}

/** A product and the name of a kernel for it. */
export interface NamedKernel extends MatrixProduct {
  readonly kernel: string;
}

/** The kernels that the Programs of a model use. */
export interface ModelProducts {
  readonly products: readonly (NamedKernel & { readonly source: KernelSource })[];
  /** Version of cuBLASLt that its numbers hold for; absent without the library. */
  readonly library?: number;
}

/** One way to compute a product, and the seconds of one product in each round. */
export interface MeasuredProduct {
  /** The kernel: 'sm90 128 × 192', 'cuBLASLt 1' for the library's first choice, 'cuBLASLt 1 + activation', 'oneDNN'. */
  readonly name: string;
  readonly seconds: readonly number[];
  /** Why it could not run; `seconds` is then empty. */
  readonly error?: string;
}
