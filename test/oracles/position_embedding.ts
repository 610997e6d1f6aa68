import { zerosOf, type Tensor } from './tensor';

/** The index of position t of row b in its document, which starts at `starts` (B, T); without them, in its row. */
const placeOf = (starts: Tensor | undefined, b: number, t: number, T: number): number =>
  t - (starts ? starts.data[b * T + t]! : 0);

/** y[b, t] = x[b, t] + weight[start[b] + t - starts[b, t]]: x (B, T, C), weight (P, C), start (B), starts (B, T). */
export function positionEmbedding(x: Tensor, weight: Tensor, start?: Tensor, starts?: Tensor): Tensor {
  const [B, T, C] = x.shape as [number, number, number];
  const y = zerosOf(x.shape);
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      const position = (start ? start.data[b]! : 0) + placeOf(starts, b, t, T);
      for (let i = 0; i < C; i++) {
        const at = (b * T + t) * C + i;
        y.data[at] = x.data[at]! + weight.data[position * C + i]!;
      }
    }
  }
  return y;
}

/** dweight: the sum of dy over batch and documents; positions that none of them reaches get zero. */
export function positionEmbeddingBackward(dy: Tensor, weight: Tensor, starts?: Tensor): Tensor {
  const [B, T, C] = dy.shape as [number, number, number];
  const dweight = zerosOf(weight.shape);
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      const position = placeOf(starts, b, t, T);
      for (let i = 0; i < C; i++) dweight.data[position * C + i]! += dy.data[(b * T + t) * C + i]!;
    }
  }
  return dweight;
}

/** Sinusoidal positions (Vaswani et al. 2017, section 3.5), sine and cosine interleaved: (P, C). */
export function sinusoidalTable(positions: number, columns: number): Tensor {
  const table = zerosOf([positions, columns]);
  for (let t = 0; t < positions; t++) {
    for (let i = 0; i < columns; i++) {
      const angle = t / 10000 ** ((2 * Math.floor(i / 2)) / columns);
      table.data[t * columns + i] = i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return table;
}
