import { zerosOf, type Tensor } from './tensor';

/** Rows of a table: ids (…), weight (V, C) → (…, C). */
export function embedding(ids: Tensor, weight: Tensor): Tensor {
  const columns = weight.shape[1]!;
  const y = zerosOf([...ids.shape, columns]);
  ids.data.forEach((id, row) =>
    y.data.set(weight.data.subarray(id * columns, (id + 1) * columns), row * columns),
  );
  return y;
}

/** dweight: the sum over positions of dy, at each position's id. */
export function embeddingBackward(dy: Tensor, ids: Tensor, weight: Tensor): Tensor {
  const columns = weight.shape[1]!;
  const dweight = zerosOf(weight.shape);
  ids.data.forEach((id, row) => {
    for (let i = 0; i < columns; i++) dweight.data[id * columns + i]! += dy.data[row * columns + i]!;
  });
  return dweight;
}
