import { dropoutFactor, type RandomState } from './philox';
import { tensor, zerosOf, type Tensor } from './tensor';

export interface AttentionOptions {
  /** Heads of q. */
  readonly heads: number;
  /** Heads of kv: each serves heads ÷ kvHeads neighbouring heads of q. */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Of the products of queries and keys. Default 1/√headDim. */
  readonly scale?: number;
  /** Whether query q of row b sees key k. */
  readonly sees: (b: number, q: number, k: number) => boolean;
  readonly dropout?: { readonly p: number; readonly site: string; readonly random: RandomState } | undefined;
}

/** The keys that a query sees: those that every member allows. */
export interface Mask {
  readonly queries: number;
  readonly keys: number;
  /** The last query sees all keys, the one before it all but the last, and so on. */
  readonly causal: boolean;
  /** (B): keys at or beyond a row's length are masked; with `lengthsOfQueries`, queries there see nothing. */
  readonly lengths?: Tensor | undefined;
  readonly lengthsOfQueries?: boolean;
  /** (B, T): where the document of each position starts; a query sees the keys of its own alone. */
  readonly starts?: Tensor | undefined;
  /** (B, queries): the first key that a query sees. */
  readonly keyBegin?: Tensor | undefined;
  /** (B, queries): one beyond the last key that a query sees. */
  readonly keyEnd?: Tensor | undefined;
}

export function seenBy(mask: Mask): AttentionOptions['sees'] {
  const { queries, keys, lengths, starts, keyBegin, keyEnd } = mask;
  return (b, q, k) => {
    const length = lengths ? lengths.data[b]! : keys;
    const at = b * queries + q;
    return (
      k < length &&
      !(mask.lengthsOfQueries && q >= length) &&
      !(mask.causal && k > q + keys - queries) &&
      !(starts && starts.data[at] !== starts.data[b * keys + k]) &&
      !(keyBegin && k < keyBegin.data[at]!) &&
      !(keyEnd && k >= keyEnd.data[at]!)
    );
  };
}

/** Columns first..end − 1 of a tensor (B, T, C). */
export function columns(x: Tensor, first: number, end: number): Tensor {
  const [B, T, C] = x.shape as [number, number, number];
  return tensor(
    [B, T, end - first],
    x.data.filter((_, i) => i % C >= first && i % C < end),
  );
}

/** Columns of a before those of b. */
export function beside(a: Tensor, b: Tensor): Tensor {
  const [B, T, C] = a.shape as [number, number, number];
  const width = C + b.shape[2]!;
  const y = zerosOf([B, T, width]);
  for (let row = 0; row < B * T; row++) {
    y.data.set(a.data.subarray(row * C, (row + 1) * C), row * width);
    y.data.set(b.data.subarray(row * (width - C), (row + 1) * (width - C)), row * width + C);
  }
  return y;
}

/** What one query saw: the offsets of its q and y, those of each key's k and v, its probabilities, and dropout's factors. */
interface Seen {
  readonly qAt: number;
  readonly keys: readonly { kAt: number; vAt: number; p: number; kept: number }[];
}

/** Calls visit for each query of each head that sees a key. */
function forEachQuery(q: Tensor, kv: Tensor, o: AttentionOptions, visit: (seen: Seen) => void): void {
  const [B, Tq] = q.shape as [number, number];
  const Tk = kv.shape[1]!;
  const { heads, kvHeads, headDim } = o;
  const scale = o.scale ?? 1 / Math.sqrt(headDim);
  const factor = o.dropout && dropoutFactor(o.dropout.random, o.dropout.site, o.dropout.p);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < heads; h++) {
      const shared = Math.floor(h / (heads / kvHeads));
      for (let t = 0; t < Tq; t++) {
        const qAt = ((b * Tq + t) * heads + h) * headDim;
        const seen = Array.from({ length: Tk }, (_, k) => k).filter((k) => o.sees(b, t, k));
        const places = seen.map((k) => {
          const kAt = ((b * Tk + k) * 2 * kvHeads + shared) * headDim;
          let score = 0;
          for (let d = 0; d < headDim; d++) score += scale * q.data[qAt + d]! * kv.data[kAt + d]!;
          return { k, kAt, vAt: kAt + kvHeads * headDim, score };
        });
        const largest = places.reduce((a, { score }) => Math.max(a, score), -Infinity);
        const total = places.reduce((a, { score }) => a + Math.exp(score - largest), 0);
        const keys = places.map(({ k, kAt, vAt, score }) => ({
          kAt,
          vAt,
          p: Math.exp(score - largest) / total,
          kept: factor ? factor(b, h * Tq + t, k) : 1,
        }));
        if (keys.length > 0) visit({ qAt, keys });
      }
    }
  }
}

/**
 * Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1): q (B, Tq, heads·D) and kv (B, Tk, 2·kvHeads·D) →
 * (B, Tq, heads·D). A query that sees no key gives zeros.
 */
export function attention(q: Tensor, kv: Tensor, o: AttentionOptions): Tensor {
  const y = zerosOf(q.shape);
  forEachQuery(q, kv, o, ({ qAt, keys }) => {
    for (const { vAt, p, kept } of keys)
      for (let d = 0; d < o.headDim; d++) y.data[qAt + d]! += p * kept * kv.data[vAt + d]!;
  });
  return y;
}

/** The chain rule written out: dP = (dy · v) ∘ kept; dS = P ∘ (dP − Σ P ∘ dP); dq, dk from dS and dv from P ∘ kept. */
export function attentionBackward(
  dy: Tensor,
  q: Tensor,
  kv: Tensor,
  o: AttentionOptions,
): { dq: Tensor; dkv: Tensor } {
  const scale = o.scale ?? 1 / Math.sqrt(o.headDim);
  const [dq, dkv] = [zerosOf(q.shape), zerosOf(kv.shape)];
  forEachQuery(q, kv, o, ({ qAt, keys }) => {
    const dP = keys.map(({ vAt, p, kept }) => {
      let sum = 0;
      for (let d = 0; d < o.headDim; d++) {
        sum += dy.data[qAt + d]! * kv.data[vAt + d]! * kept;
        dkv.data[vAt + d]! += p * kept * dy.data[qAt + d]!;
      }
      return sum;
    });
    const weighted = keys.reduce((sum, { p }, i) => sum + p * dP[i]!, 0);
    keys.forEach(({ kAt, p }, i) => {
      const dS = scale * p * (dP[i]! - weighted);
      for (let d = 0; d < o.headDim; d++) {
        dq.data[qAt + d]! += dS * kv.data[kAt + d]!;
        dkv.data[kAt + d]! += dS * q.data[qAt + d]!;
      }
    });
  });
  return { dq, dkv };
}
