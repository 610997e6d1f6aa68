import { logSoftmax } from './log_softmax';
import { rowsAndColumns, zerosOf, type Tensor } from './tensor';

export interface CrossEntropyOptions {
  /** The target that no loss is computed for. */
  readonly ignoreIndex: number;
  /** ε of label smoothing as PyTorch defines it: the target distribution is (1 − ε) · onehot + ε / V. */
  readonly labelSmoothing?: number;
}

/** Σ over valid targets of the cross-entropy in nats: logits (B, T, V), targets (B, T) → the sum and how many were valid. */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  { ignoreIndex, labelSmoothing = 0 }: CrossEntropyOptions,
): { sum: number; valid: number } {
  const [rows, V] = rowsAndColumns(logits);
  const logProbs = logSoftmax(logits);
  let sum = 0;
  let valid = 0;
  for (let row = 0; row < rows; row++) {
    const target = targets.data[row]!;
    if (target === ignoreIndex) continue;
    valid++;
    let mean = 0;
    for (let i = 0; i < V; i++) mean += logProbs.data[row * V + i]! / V;
    sum -= (1 - labelSmoothing) * logProbs.data[row * V + target]! + labelSmoothing * mean;
  }
  return { sum, valid };
}

/** seed · (softmax − (1 − ε) · onehot − ε / V) in rows with a valid target, else zeros. */
export function crossEntropyBackward(
  seed: number,
  logits: Tensor,
  targets: Tensor,
  { ignoreIndex, labelSmoothing = 0 }: CrossEntropyOptions,
): Tensor {
  const [rows, V] = rowsAndColumns(logits);
  const logProbs = logSoftmax(logits);
  const dlogits = zerosOf(logits.shape);
  for (let row = 0; row < rows; row++) {
    const target = targets.data[row]!;
    if (target === ignoreIndex) continue;
    for (let i = 0; i < V; i++) {
      const wanted = (i === target ? 1 - labelSmoothing : 0) + labelSmoothing / V;
      dlogits.data[row * V + i] = seed * (Math.exp(logProbs.data[row * V + i]!) - wanted);
    }
  }
  return dlogits;
}
