import type { AttentionOptions } from './attention';
import { dropoutFactor } from './philox';
import { zerosOf, type Tensor } from './tensor';

export type Round = (value: number) => number;

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
 * tests (attention_ref with upcast=False, reorder_ops=True): q and dy (B, Tq, heads·D), kv (B, Tk, 2·kvHeads·D) → y, dq,
 * dkv.
 */
export function attention16(
  q: Tensor,
  kv: Tensor,
  dy: Tensor,
  round: Round,
  o: AttentionOptions,
): { y: Tensor; dq: Tensor; dkv: Tensor } {
  const [B, Tq] = q.shape as [number, number];
  const Tk = kv.shape[1]!;
  const { heads: H, kvHeads: G, headDim: D } = o;
  const scale = o.scale ?? 1 / Math.sqrt(D);
  const factor = o.dropout && dropoutFactor(o.dropout.random, o.dropout.site, o.dropout.p);
  const [y, dq, dkv] = [zerosOf(q.shape), zerosOf(q.shape), zerosOf(kv.shape)];
  const scaled = kv.data.map((value) => round(value * scale)); // of which keys are read
  for (let i = 0; i < B * H * Tq; i++) {
    const [b, h, t] = [Math.floor(i / Tq / H), Math.floor(i / Tq) % H, i % Tq];
    const qAt = ((b * Tq + t) * H + h) * D;
    const seen = Array.from({ length: Tk }, (_, k) => k).filter((k) => o.sees(b, t, k));
    const keysAt = seen.map((k) => ((b * Tk + k) * 2 * G + Math.floor((h * G) / H)) * D);
    const s = keysAt.map((at) => round(dot(D, q.data, qAt, scaled, at)));
    const largest = s.reduce((a, value) => Math.max(a, value), -Infinity);
    const total = s.reduce((a, value) => a + Math.exp(value - largest), 0);
    const p = s.map((value) => round(Math.exp(value - largest) / total));
    const kept = seen.map((k) => (factor ? factor(b, h * Tq + t, k) : 1));
    const dP = keysAt.map((at, k) => round(kept[k]! * round(dot(D, dy.data, qAt, kv.data, at + G * D))));
    const weighted = p.reduce((sum, value, k) => sum + value * dP[k]!, 0);
    keysAt.forEach((kAt, k) => {
      const vAt = kAt + G * D;
      const weight = round(p[k]! * kept[k]!);
      const dS = round(p[k]! * (dP[k]! - weighted));
      add(D, y.data, qAt, weight, kv.data, vAt);
      add(D, dq.data, qAt, dS, scaled, kAt);
      add(D, dkv.data, kAt, dS, q.data, qAt);
      add(D, dkv.data, vAt, weight, dy.data, qAt);
    });
  }
  const isKey = (i: number): boolean => Math.floor(i / (G * D)) % 2 === 0;
  dkv.data.forEach((value, i) => isKey(i) && (dkv.data[i] = scale * round(value)));
  const rounded = (x: Tensor): Tensor => ({ shape: x.shape, data: x.data.map(round) });
  return { y: rounded(y), dq: rounded(dq), dkv: rounded(dkv) };
}
