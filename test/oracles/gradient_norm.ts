import type { Tensor } from './tensor';

/** The norm of all gradients as one vector. */
export function gradientNorm(gradients: Iterable<Tensor>): number {
  let squares = 0;
  for (const { data } of gradients) for (const g of data) squares += g * g;
  return Math.sqrt(squares);
}

/** What clipping multiplies gradients with: PyTorch's clip_grad_norm_; a maximum of 0 clips nothing. */
export const clipFactor = (norm: number, maxGradNorm: number): number =>
  maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
