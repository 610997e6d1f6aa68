/** ‖actual − expected‖ / ‖expected‖ (Frobenius); ‖actual‖ where the expected one is zero. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return NaN;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference) / (norm > 0 ? Math.sqrt(norm) : 1);
}

/** Fails with the error's size and the worst element unless the relative error is at most `tolerance`. */
export function expectClose(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  const error = relativeError(actual, expected);
  if (error <= tolerance) return;
  let worst = 0;
  const distance = (i: number): number => {
    const d = Math.abs(actual[i]! - expected[i]!);
    return Number.isNaN(d) ? Infinity : d;
  };
  for (let i = 1; i < expected.length; i++) if (distance(i) > distance(worst)) worst = i;
  throw new Error(
    `${what}: relative error ${error} is above ${tolerance}; lengths ${actual.length} and ${expected.length}; ` +
      `element ${worst} is ${actual[worst]}, expected ${expected[worst]}`,
  );
}

/**
 * The error that fp32 arithmetic may leave on a result that sums `terms` products. Each rounding is at most u = 2⁻²⁴ of the
 * partial sum and has a random sign, so the error grows with √terms; twice that covers the operations around a sum. Kernels
 * were seen to stay within half of it. Oracles read the same fp32 inputs.
 */
export const fp32Tolerance = (terms: number): number => 2 * 2 ** -24 * Math.sqrt(terms + 4);
