import { z } from 'zod';

/**
 * Version of our kernels for matrix products. Raise it when a change makes them faster or slower: what was measured before then
 * counts no longer.
 */
export const KERNELS_VERSION = 1;

/** Most entries of a file; a model has dozens of products. */
export const MOST_ENTRIES = 4000;

const extent = z
  .int()
  .min(1)
  .max(2 ** 24);

/** A product and the kernel that computes it, as files have it. */
export const savedProductSchema = z.strictObject({
  layout: z.enum(['forward', 'inputGradient', 'weightGradient']),
  /** Rows and columns of C and the length of the sums, with padding. */
  m: extent,
  n: extent,
  k: extent,
  /** What is fused into it, in order. */
  pieces: z
    .array(
      z.strictObject({
        kind: z.enum(['bias', 'keepInput', 'activation', 'slope', 'columnSums', 'rowScale', 'exponentials']),
        function: z.string().exactOptional(),
      }),
    )
    .max(3),
  /** Type of C. */
  result: z.enum(['float32', 'bfloat16', 'float16']),
  /** The name of the kernel. */
  kernel: z.string().min(1).max(100),
});

/** A measured product: its fastest kernel, and what the measurement holds for. */
const entrySchema = savedProductSchema.extend({
  precision: z.enum(['fp32', 'tf32', 'fp16', 'bf16']),
  /** Seconds of one product: the median of the rounds. */
  seconds: z.number().positive().max(1e6),
  /** Version of cuBLASLt that it was compared with; absent without the library. */
  library: z.int().min(1).exactOptional(),
  /** KERNELS_VERSION of the release that measured it. */
  kernels: z.int().min(1),
});

/** The content of a file of measured products of one chip. */
export const productsSchema = z.strictObject({
  version: z.literal(1),
  /** The chip, by its name for `plan`. */
  chip: z.string(),
  /** The latest is last. */
  entries: z.array(entrySchema).max(MOST_ENTRIES),
});

export type SavedProduct = z.output<typeof savedProductSchema>;
export type ProductEntry = z.output<typeof entrySchema>;
export type ProductsFile = z.output<typeof productsSchema>;
