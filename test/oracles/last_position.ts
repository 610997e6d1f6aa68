import { zerosOf, type Tensor } from './tensor';

/** y[b] = x[b, lengths[b] - 1], zero where lengths[b] = 0. */
export function lastPosition(x: Tensor, lengths: Tensor): Tensor {
  const [batch, , columns] = x.shape as [number, number, number];
  const y = zerosOf([batch, columns]);
  for (const [b, at] of places(x, lengths)) y.data.set(x.data.subarray(at, at + columns), b * columns);
  return y;
}

export function lastPositionBackward(dy: Tensor, x: Tensor, lengths: Tensor): Tensor {
  const columns = x.shape[2]!;
  const dx = zerosOf(x.shape);
  for (const [b, at] of places(x, lengths)) dx.data.set(dy.data.subarray(b * columns, (b + 1) * columns), at);
  return dx;
}

/** Rows that have a last position, and where it is in x. */
function* places({ shape }: Tensor, lengths: Tensor): Generator<readonly [row: number, offset: number]> {
  const [, time, columns] = shape as [number, number, number];
  for (const [b, length] of lengths.data.entries())
    if (length > 0) yield [b, (b * time + length - 1) * columns];
}
