import { dropoutFactor, type RandomState } from './philox';
import { zerosOf, type Tensor } from './tensor';

export interface AttentionOptions {
  readonly heads: number;
  readonly headDim: number;
  readonly causal?: boolean;
  /** Of the products of queries and keys. Default 1/√headDim. */
  readonly scale?: number;
  /** (B): keys at or beyond a row's length are masked, queries there give zeros. */
  readonly lengths?: Tensor | undefined;
  /** (B, T): where the document of each position starts; a query sees the keys of its own alone. */
  readonly starts?: Tensor | undefined;
  readonly dropout?: { readonly p: number; readonly site: string; readonly random: RandomState } | undefined;
}

/** Where q, k and v of a position and head start: qkv is (B, T, 3, H, D). */
const offset = (o: AttentionOptions, position: number, part: number, head: number): number =>
  ((position * 3 + part) * o.heads + head) * o.headDim;

/** What one query saw: its probabilities over the keys [0, keys), zero for other documents, and dropout's factors. */
interface Seen {
  readonly keys: number;
  readonly p: Float64Array;
  readonly kept: Float64Array;
}

/** Calls visit for each query that sees a key: (b, h, q) and what it saw. */
function forEachQuery(
  qkv: Tensor,
  o: AttentionOptions,
  visit: (b: number, h: number, q: number, seen: Seen) => void,
): void {
  const [B, T] = qkv.shape as [number, number];
  const scale = o.scale ?? 1 / Math.sqrt(o.headDim);
  const factor = o.dropout && dropoutFactor(o.dropout.random, o.dropout.site, o.dropout.p);
  for (let b = 0; b < B; b++) {
    const length = o.lengths ? o.lengths.data[b]! : T;
    for (let h = 0; h < o.heads; h++) {
      for (let q = 0; q < Math.min(T, length); q++) {
        const keys = o.causal ? q + 1 : length;
        const p = new Float64Array(keys);
        for (let k = 0; k < keys; k++) {
          if (o.starts && o.starts.data[b * T + k] !== o.starts.data[b * T + q]) {
            p[k] = -Infinity;
            continue;
          }
          const qAt = offset(o, b * T + q, 0, h);
          const kAt = offset(o, b * T + k, 1, h);
          for (let d = 0; d < o.headDim; d++) p[k]! += scale * qkv.data[qAt + d]! * qkv.data[kAt + d]!;
        }
        const largest = p.reduce((a, s) => Math.max(a, s), -Infinity);
        const total = p.reduce((a, s) => a + Math.exp(s - largest), 0);
        for (let k = 0; k < keys; k++) p[k] = Math.exp(p[k]! - largest) / total;
        const kept = new Float64Array(keys).map((_, k) => (factor ? factor(b, h * T + q, k) : 1));
        visit(b, h, q, { keys, p, kept });
      }
    }
  }
}

/** Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1): qkv (B, T, 3·H·D) → (B, T, H·D). */
export function attention(qkv: Tensor, o: AttentionOptions): Tensor {
  const [B, T] = qkv.shape as [number, number];
  const y = zerosOf([B, T, o.heads * o.headDim]);
  forEachQuery(qkv, o, (b, h, q, { keys, p, kept }) => {
    const yAt = ((b * T + q) * o.heads + h) * o.headDim;
    for (let k = 0; k < keys; k++) {
      const vAt = offset(o, b * T + k, 2, h);
      for (let d = 0; d < o.headDim; d++) y.data[yAt + d]! += p[k]! * kept[k]! * qkv.data[vAt + d]!;
    }
  });
  return y;
}

/** The chain rule written out: dP = (dy · v) ∘ kept; dS = P ∘ (dP − Σ P ∘ dP); dq, dk from dS and dv from P ∘ kept. */
export function attentionBackward(dy: Tensor, qkv: Tensor, o: AttentionOptions): Tensor {
  const [, T] = qkv.shape as [number, number];
  const scale = o.scale ?? 1 / Math.sqrt(o.headDim);
  const dqkv = zerosOf(qkv.shape);
  forEachQuery(qkv, o, (b, h, q, { keys, p, kept }) => {
    const yAt = ((b * T + q) * o.heads + h) * o.headDim;
    const qAt = offset(o, b * T + q, 0, h);
    const dp = new Float64Array(keys);
    let weighted = 0;
    for (let k = 0; k < keys; k++) {
      const vAt = offset(o, b * T + k, 2, h);
      for (let d = 0; d < o.headDim; d++) {
        dp[k]! += dy.data[yAt + d]! * qkv.data[vAt + d]! * kept[k]!;
        dqkv.data[vAt + d]! += p[k]! * kept[k]! * dy.data[yAt + d]!;
      }
      weighted += p[k]! * dp[k]!;
    }
    for (let k = 0; k < keys; k++) {
      const kAt = offset(o, b * T + k, 1, h);
      const ds = scale * p[k]! * (dp[k]! - weighted);
      for (let d = 0; d < o.headDim; d++) {
        dqkv.data[qAt + d]! += ds * qkv.data[kAt + d]!;
        dqkv.data[kAt + d]! += ds * qkv.data[qAt + d]!;
      }
    }
  });
  return dqkv;
}
