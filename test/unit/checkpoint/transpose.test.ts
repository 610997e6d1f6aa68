import { transpose } from '../../../lib/checkpoint/transpose';

describe('transpose', () => {
  it.each([
    [1, 1],
    [1, 5],
    [33, 64],
    [70, 31],
  ])('swaps rows and columns of %p x %p', (rows, columns) => {
    const values = Float32Array.from({ length: rows * columns }, (_, i) => i);
    const swapped = transpose(values, [rows, columns]);
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) expect(swapped[c * rows + r]).toBe(values[r * columns + c]);
    expect([...transpose(swapped, [columns, rows])]).toEqual([...values]);
  });
});
