import { rowsAndColumns, zerosOf, type Tensor } from './tensor';

function statistics(
  x: Tensor,
  row: number,
  columns: number,
  epsilon: number,
): { mean: number; rstd: number } {
  let mean = 0;
  for (let i = 0; i < columns; i++) mean += x.data[row * columns + i]! / columns;
  let variance = 0;
  for (let i = 0; i < columns; i++) variance += (x.data[row * columns + i]! - mean) ** 2 / columns;
  return { mean, rstd: 1 / Math.sqrt(variance + epsilon) };
}

/** Layer normalisation over the last axis (Ba et al. 2016): x (…, C), weight (C), bias (C) → (…, C). */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor | undefined, epsilon: number): Tensor {
  const [rows, columns] = rowsAndColumns(x);
  const y = zerosOf(x.shape);
  for (let row = 0; row < rows; row++) {
    const { mean, rstd } = statistics(x, row, columns, epsilon);
    for (let i = 0; i < columns; i++) {
      const xhat = (x.data[row * columns + i]! - mean) * rstd;
      y.data[row * columns + i] = xhat * weight.data[i]! + (bias ? bias.data[i]! : 0);
    }
  }
  return y;
}

/** dx = rstd · (g − mean(g) − x̂ · mean(g · x̂)) with g = dy · weight; dweight = Σ dy · x̂; dbias = Σ dy. */
export function layerNormBackward(
  dy: Tensor,
  x: Tensor,
  weight: Tensor,
  epsilon: number,
): { dx: Tensor; dweight: Tensor; dbias: Tensor } {
  const [rows, columns] = rowsAndColumns(x);
  const dx = zerosOf(x.shape);
  const dweight = zerosOf([columns]);
  const dbias = zerosOf([columns]);
  for (let row = 0; row < rows; row++) {
    const { mean, rstd } = statistics(x, row, columns, epsilon);
    const xhat = (i: number): number => (x.data[row * columns + i]! - mean) * rstd;
    const g = (i: number): number => dy.data[row * columns + i]! * weight.data[i]!;
    let meanG = 0;
    let meanGX = 0;
    for (let i = 0; i < columns; i++) {
      meanG += g(i) / columns;
      meanGX += (g(i) * xhat(i)) / columns;
      dweight.data[i]! += dy.data[row * columns + i]! * xhat(i);
      dbias.data[i]! += dy.data[row * columns + i]!;
    }
    for (let i = 0; i < columns; i++) {
      dx.data[row * columns + i] = rstd * (g(i) - meanG - xhat(i) * meanGX);
    }
  }
  return { dx, dweight, dbias };
}
