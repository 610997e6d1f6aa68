import { rowsAndColumns, zerosOf, type Tensor } from './tensor';

/** log Σ exp of row `row` of x (…, V). */
export function logSumExp(x: Tensor, row: number): number {
  const columns = x.shape.at(-1)!;
  const values = x.data.subarray(row * columns, (row + 1) * columns);
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return largest + Math.log(values.reduce((sum, z) => sum + Math.exp(z - largest), 0));
}

/** Logarithms of the softmax over the last axis: x (…, V) → (…, V). */
export function logSoftmax(x: Tensor): Tensor {
  const [rows, columns] = rowsAndColumns(x);
  const y = zerosOf(x.shape);
  for (let row = 0; row < rows; row++) {
    const lse = logSumExp(x, row);
    for (let i = 0; i < columns; i++) y.data[row * columns + i] = x.data[row * columns + i]! - lse;
  }
  return y;
}

/** dx = dy − softmax(x) · Σ dy. */
export function logSoftmaxBackward(dy: Tensor, x: Tensor): Tensor {
  const [rows, columns] = rowsAndColumns(x);
  const y = logSoftmax(x);
  const dx = zerosOf(x.shape);
  for (let row = 0; row < rows; row++) {
    let total = 0;
    for (let i = 0; i < columns; i++) total += dy.data[row * columns + i]!;
    for (let i = 0; i < columns; i++) {
      const at = row * columns + i;
      dx.data[at] = dy.data[at]! - Math.exp(y.data[at]!) * total;
    }
  }
  return dx;
}
