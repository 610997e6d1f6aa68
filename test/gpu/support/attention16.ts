import { dropoutFactor, type RandomState } from '../../oracles/philox';
import { zerosOf, type Tensor } from '../../oracles/tensor';

type Round = (value: number) => number;

export interface Attention16Options {
  readonly heads: number;
  readonly headDim: number;
  readonly causal: boolean;
  readonly lengths?: Tensor | undefined;
  readonly dropout?: { readonly p: number; readonly site: string; readonly random: RandomState } | undefined;
}

/** Σ x[xAt + i · xStep] · y[yAt + i · yStep] over i below n. */
function dot(
  n: number,
  [x, xAt, xStep]: readonly [Float64Array, number, number],
  [y, yAt, yStep]: readonly [Float64Array, number, number],
): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[xAt + i * xStep]! * y[yAt + i * yStep]!;
  return sum;
}

/**
 * What a plain implementation in a 16-bit type computes, which rounds each tensor that it makes: keys times the scale,
 * scores, probabilities, their gradients and the results, with exact sums. It is the yardstick of FlashAttention's
 * tests (attention_ref with upcast=False, reorder_ops=True): qkv (B, T, 3, H, D), dy (B, T, H, D) → y, dqkv.
 */
export function attention16(
  qkv: Tensor,
  dy: Tensor,
  round: Round,
  o: Attention16Options,
): { y: Tensor; dqkv: Tensor } {
  const [B, T] = qkv.shape as [number, number];
  const { heads: H, headDim: D } = o;
  const scale = 1 / Math.sqrt(D);
  const factor = o.dropout && dropoutFactor(o.dropout.random, o.dropout.site, o.dropout.p);
  const y = zerosOf([B, T, H * D]);
  const dqkv = zerosOf(qkv.shape);
  for (let b = 0; b < B; b++) {
    const length = o.lengths ? o.lengths.data[b]! : T;
    for (let h = 0; h < H; h++) {
      const row = 3 * H * D;
      const [qAt, kAt, vAt] = [0, 1, 2].map((part) => (b * T * 3 + part) * H * D + h * D) as [
        number,
        number,
        number,
      ];
      const yAt = b * T * H * D + h * D;
      const scaled = new Float64Array(length * D); // keys · scale
      for (let k = 0; k < length; k++) {
        for (let d = 0; d < D; d++) scaled[k * D + d] = round(qkv.data[kAt + k * row + d]! * scale);
      }
      // (query, key): probabilities as the values see them, and the gradients of the scores.
      const seenP = new Float64Array(length * length);
      const dS = new Float64Array(length * length);
      for (let q = 0; q < length; q++) {
        const keys = o.causal ? q + 1 : length;
        const s = new Float64Array(keys).map((_, k) =>
          round(dot(D, [qkv.data, qAt + q * row, 1], [scaled, k * D, 1])),
        );
        const largest = s.reduce((a, value) => Math.max(a, value), -Infinity);
        const total = s.reduce((a, value) => a + Math.exp(value - largest), 0);
        const p = s.map((value) => round(Math.exp(value - largest) / total));
        const kept = p.map((_, k) => (factor ? factor(b, h * T + q, k) : 1));
        const dP = p.map((_, k) =>
          round(kept[k]! * round(dot(D, [dy.data, yAt + q * H * D, 1], [qkv.data, vAt + k * row, 1]))),
        );
        const weighted = dot(keys, [p, 0, 1], [dP, 0, 1]);
        for (let k = 0; k < keys; k++) {
          seenP[q * length + k] = round(p[k]! * kept[k]!);
          dS[q * length + k] = round(p[k]! * (dP[k]! - weighted));
        }
        for (let d = 0; d < D; d++) {
          y.data[yAt + q * H * D + d] = round(dot(keys, [seenP, q * length, 1], [qkv.data, vAt + d, row]));
          dqkv.data[qAt + q * row + d] = round(dot(keys, [dS, q * length, 1], [scaled, d, D]));
        }
      }
      for (let k = 0; k < length; k++) {
        for (let d = 0; d < D; d++) {
          const dk = dot(length, [dS, k, length], [qkv.data, qAt + d, row]);
          dqkv.data[kAt + k * row + d] = round(scale * round(dk));
          dqkv.data[vAt + k * row + d] = round(dot(length, [seenP, k, length], [dy.data, yAt + d, H * D]));
        }
      }
    }
  }
  return { y, dqkv };
}

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
