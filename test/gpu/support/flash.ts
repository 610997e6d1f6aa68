import type { Round } from '../../oracles/attention16';

/** max |a − b| */
function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < b.length; i++) {
    const distance = Math.abs(a[i]! - b[i]!);
    if (!(distance <= most)) most = distance;
  }
  return most;
}

/**
 * FlashAttention's criterion: no element is further from the exact result than twice the furthest of the plain 16-bit
 * implementation, plus twice what adding and subtracting 0.3 in the type changes at most.
 */
export function expectFlash(
  what: string,
  actual: ArrayLike<number>,
  exact: ArrayLike<number>,
  plain: ArrayLike<number>,
  round: Round,
): void {
  const ref = Float64Array.from(exact, round);
  const moved = ref.map((value) => round(round(value + 0.3) - 0.3));
  const bound = 2 * furthest(plain, exact) + 2 * furthest(moved, ref);
  const distance = furthest(actual, exact);
  if (!(distance <= bound) || actual.length !== exact.length) {
    throw new Error(
      `${what}: an element is ${distance} from the exact result; FlashAttention's bound is ${bound}`,
    );
  }
}
