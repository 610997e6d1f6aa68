import { dropoutFactor, type RandomState } from './philox';
import { zerosOf, type Tensor } from './tensor';

export type Round = (value: number) => number;

export interface Attention16Options {
  readonly heads: number;
  readonly headDim: number;
  readonly causal: boolean;
  /** Default 1/√headDim. */
  readonly scale?: number;
  readonly lengths?: Tensor | undefined;
  /** (B, T): where the document of each position starts. */
  readonly starts?: Tensor | undefined;
  readonly dropout?: { readonly p: number; readonly site: string; readonly random: RandomState } | undefined;
}

/** Σ x[xAt + i] · y[yAt + i] over i below n. */
function dot(n: number, x: Float64Array, xAt: number, y: Float64Array, yAt: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[xAt + i]! * y[yAt + i]!;
  return sum;
}

/** to[toAt + i] += factor · x[xAt + i] for i below n. */
function add(n: number, to: Float64Array, toAt: number, factor: number, x: Float64Array, xAt: number): void {
  for (let i = 0; i < n; i++) to[toAt + i]! += factor * x[xAt + i]!;
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
  const scale = o.scale ?? 1 / Math.sqrt(D);
  const factor = o.dropout && dropoutFactor(o.dropout.random, o.dropout.site, o.dropout.p);
  const y = zerosOf([B, T, H * D]);
  const dqkv = zerosOf(qkv.shape);
  const at = (b: number, t: number, part: number, h: number): number =>
    (((b * T + t) * 3 + part) * H + h) * D;
  for (let b = 0; b < B; b++) {
    const length = o.lengths ? o.lengths.data[b]! : T;
    for (let h = 0; h < H; h++) {
      const scaled = new Float64Array(length * D); // keys · scale
      for (let k = 0; k < length; k++) {
        for (let d = 0; d < D; d++) scaled[k * D + d] = round(qkv.data[at(b, k, 1, h) + d]! * scale);
      }
      for (let q = 0; q < length; q++) {
        const keys = o.causal ? q + 1 : length;
        const [qAt, yAt] = [at(b, q, 0, h), ((b * T + q) * H + h) * D];
        const isSeen = (k: number): boolean =>
          !o.starts || o.starts.data[b * T + k] === o.starts.data[b * T + q];
        const s = new Float64Array(keys).map((_, k) =>
          isSeen(k) ? round(dot(D, qkv.data, qAt, scaled, k * D)) : -Infinity,
        );
        const largest = s.reduce((a, value) => Math.max(a, value), -Infinity);
        const total = s.reduce((a, value) => a + Math.exp(value - largest), 0);
        const p = s.map((value) => round(Math.exp(value - largest) / total));
        const kept = p.map((_, k) => (factor ? factor(b, h * T + q, k) : 1));
        const dP = p.map((_, k) => round(kept[k]! * round(dot(D, dy.data, yAt, qkv.data, at(b, k, 2, h)))));
        const weighted = dot(keys, p, 0, dP, 0);
        for (let k = 0; k < keys; k++) {
          const seen = round(p[k]! * kept[k]!);
          const dS = round(p[k]! * (dP[k]! - weighted));
          add(D, y.data, yAt, seen, qkv.data, at(b, k, 2, h));
          add(D, dqkv.data, qAt, dS, scaled, k * D);
          add(D, dqkv.data, at(b, k, 1, h), dS, qkv.data, qAt);
          add(D, dqkv.data, at(b, k, 2, h), seen, dy.data, yAt);
        }
      }
      for (let k = 0; k < length; k++) {
        const kAt = at(b, k, 1, h);
        for (let d = 0; d < D; d++) dqkv.data[kAt + d] = scale * round(dqkv.data[kAt + d]!);
      }
    }
  }
  const rounded = (x: Tensor): Tensor => ({ shape: x.shape, data: x.data.map(round) });
  return { y: rounded(y), dqkv: rounded(dqkv) };
}
