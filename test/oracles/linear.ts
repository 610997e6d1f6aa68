import { rowsAndColumns, zerosOf, type Tensor } from './tensor';

/** y = x · Wᵀ + b: x (…, in), weight (out, in), bias (out) → (…, out). */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const [rows, nIn] = rowsAndColumns(x);
  const nOut = weight.shape[0]!;
  const y = zerosOf([...x.shape.slice(0, -1), nOut]);
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < nOut; o++) {
      let sum = bias ? bias.data[o]! : 0;
      for (let i = 0; i < nIn; i++) sum += x.data[row * nIn + i]! * weight.data[o * nIn + i]!;
      y.data[row * nOut + o] = sum;
    }
  }
  return y;
}

/** dx = dy · W, dweight = dyᵀ · x, dbias = column sums of dy. */
export function linearBackward(
  dy: Tensor,
  x: Tensor,
  weight: Tensor,
): { dx: Tensor; dweight: Tensor; dbias: Tensor } {
  const [rows, nIn] = rowsAndColumns(x);
  const nOut = weight.shape[0]!;
  const dx = zerosOf(x.shape);
  const dweight = zerosOf(weight.shape);
  const dbias = zerosOf([nOut]);
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < nOut; o++) {
      const g = dy.data[row * nOut + o]!;
      dbias.data[o]! += g;
      for (let i = 0; i < nIn; i++) {
        dx.data[row * nIn + i]! += g * weight.data[o * nIn + i]!;
        dweight.data[o * nIn + i]! += g * x.data[row * nIn + i]!;
      }
    }
  }
  return { dx, dweight, dbias };
}
