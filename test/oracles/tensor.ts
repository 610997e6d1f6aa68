/** A dense row-major tensor in double precision. Token ids are exact in it too. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export const zerosOf = (shape: readonly number[]): Tensor => ({
  shape,
  data: new Float64Array(elements(shape)),
});

export const tensor = (shape: readonly number[], values: ArrayLike<number>): Tensor => ({
  shape,
  data: Float64Array.from(values),
});

/** The extent of the last axis and the number of rows before it. */
export function rowsAndColumns(x: Tensor): [rows: number, columns: number] {
  const columns = x.shape.at(-1) ?? 1;
  return [elements(x.shape.slice(0, -1)), columns];
}

/** Applies f to each element. */
export const map = (x: Tensor, f: (value: number, index: number) => number): Tensor => ({
  shape: x.shape,
  data: x.data.map(f),
});

export const add = (a: Tensor, b: Tensor): Tensor => map(a, (value, i) => value + b.data[i]!);
