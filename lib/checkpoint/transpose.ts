const TILE = 32;

/**
 * The transpose of a row-major matrix, tile by tile so that reads and writes both stay in the cache. Only checkpoints
 * need it, once for each matrix that Hugging Face stores as [in, out].
 *
 * @param shape - [rows, columns] of `values`.
 */
export function transpose(values: Float32Array, [rows, columns]: readonly [number, number]): Float32Array {
  const into = new Float32Array(values.length);
  for (let r0 = 0; r0 < rows; r0 += TILE)
    for (let c0 = 0; c0 < columns; c0 += TILE) {
      const r1 = Math.min(rows, r0 + TILE);
      const c1 = Math.min(columns, c0 + TILE);
      for (let r = r0; r < r1; r++)
        for (let c = c0; c < c1; c++) into[c * rows + r] = values[r * columns + c] as number;
    }
  return into;
}
