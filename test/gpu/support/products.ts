import { BATCH } from '../../../lib/graph/graph';
import { GraphBuilder, width, zeros } from '../../../lib/graph/builder';
import { elements, rowsAndColumns, tensor, zerosOf, type Tensor } from '../../oracles/tensor';
import { linearCase, mlpsCase, NODE, type OperationCase } from '../../unit/support/cases';
import { Random } from '../../unit/support/random';
import { roundTo } from '../../unit/support/rounding';

/** Cases of matrix products whose exact results are quick to compute, or known. */

/**
 * Rounds to eight significant bits in fp16's range. fp32, TF32, bf16 and fp16 hold such a number, and fp32 the product of two. So
 * one exact result serves all precisions.
 */
export const toEveryType = (value: number): number => roundTo.fp16(roundTo.bf16(value));

/** A case with other values. */
export const withValues = (
  one: OperationCase,
  change: (value: number, name: string, index: number) => number,
): OperationCase => ({
  ...one,
  given: new Map(
    [...one.given].map(([name, { shape, data }]) => [
      name,
      { shape, data: data.map((value, i) => change(value, name, i)) },
    ]),
  ),
});

/** A (m, k) times the transpose of B (n, k), four columns at a time. */
function product(a: Tensor, b: Tensor): Tensor {
  const [[m, k], [n]] = [rowsAndColumns(a), rowsAndColumns(b)];
  const [x, y, c] = [a.data, b.data, zerosOf([m, n])];
  for (let i = 0; i < m; i++) {
    const row = x.subarray(i * k, (i + 1) * k);
    for (let j = 0; j < n; j += 4) {
      const [j1, j2, j3] = [Math.min(j + 1, n - 1), Math.min(j + 2, n - 1), Math.min(j + 3, n - 1)];
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let p = 0; p < k; p++) {
        const value = row[p]!;
        s0 += value * y[j * k + p]!;
        s1 += value * y[j1 * k + p]!;
        s2 += value * y[j2 * k + p]!;
        s3 += value * y[j3 * k + p]!;
      }
      c.data[i * n + j3] = s3;
      c.data[i * n + j2] = s2;
      c.data[i * n + j1] = s1;
      c.data[i * n + j] = s0;
    }
  }
  return c;
}

function transposed(a: Tensor): Tensor {
  const [rows, columns] = rowsAndColumns(a);
  const data = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) data[j * rows + i] = a.data[i * columns + j]!;
  return { shape: [columns, rows], data };
}

function columnSums(a: Tensor): Tensor {
  const [, columns] = rowsAndColumns(a);
  const sums = zerosOf([columns]);
  a.data.forEach((value, i) => (sums.data[i % columns]! += value));
  return sums;
}

/** The value of a linear layer and its gradients by name, in double precision: as runOracle, but several times as fast. */
export function layerOf({ given }: OperationCase): Map<string, Tensor> {
  const [x, weight, dy] = [given.get('x')!, given.get('weight')!, given.get('dy')!];
  const value = product(x, weight);
  const bias = given.get('bias');
  if (bias) value.data.forEach((sum, i) => (value.data[i] = sum + bias.data[i % bias.data.length]!));
  const results = new Map([
    ['value', value],
    ['x', product(dy, transposed(weight))],
    ['weight', product(transposed(dy), transposed(x))],
  ]);
  return bias ? results.set('bias', columnSums(dy)) : results;
}

/** Linear layers of random sizes from 1 to 1100: every other draw prefers none, the others small ones. */
export function randomLayers(count: number, seed: number): OperationCase[] {
  const random = new Random(seed);
  const size = (i: number): number =>
    i % 2 ? 1 + random.integer(1100) : Math.ceil(1100 ** random.uniform());
  return Array.from({ length: count }, (_, i) => {
    const sizes = { rows: 1, time: size(i), nIn: size(i), nOut: size(i), bias: i % 3 > 0 };
    return withValues(linearCase(sizes), toEveryType);
  });
}

/** Normals that repeat after a prime number of elements, so that no two rows of a matrix are equal. */
function manyNormals(shape: readonly number[], seed: number): Tensor {
  const block = new Random(seed).normals([262_147]).data.map(toEveryType);
  const data = new Float64Array(elements(shape));
  for (let i = 0; i < data.length; i += block.length) data.set(block.subarray(0, data.length - i), i);
  return { shape, data };
}

/** Rows of the weight that a long weight gradient is compared in. */
const COMPARED_ROWS = 16;

/**
 * A layer of many rows, to take the gradient of its weight alone. With two uses y = x Wᵀ + z Wᵀ: the second product adds to
 * what the first one stores.
 */
export function longSumCase(sizes: { rows: number; nIn: number; nOut: number; uses: 1 | 2 }): OperationCase {
  const { rows, nIn, nOut, uses } = sizes;
  const g = new GraphBuilder('long sum');
  const time = g.lengthAxis('time');
  const [from, to] = [g.axis('in', width(nIn)), g.axis('out', width(nOut))];
  const weight = g.parameter('weight', [to, from], zeros);
  const input = (name: string, axis: string): string =>
    g.input(name, [BATCH, time, axis], { kind: 'values', dtype: 'float32' });
  const given = new Map([
    ['x', manyNormals([1, rows, nIn], 1)],
    ['dy', manyNormals([1, rows, nOut], 3)],
    ['weight', manyNormals([nOut, nIn], 4)],
  ]);
  const x = input('x', from);
  if (uses === 2) given.set('z', manyNormals([1, rows, nIn], 2));
  const z = uses === 2 ? input('z', from) : undefined;
  input('dy', to);
  const layer = (name: string, of: string): string => g.node('linear', name, { x: of, weight });
  const y =
    z === undefined ? layer(NODE, x) : g.node('add', NODE, { a: layer('of x', x), b: layer('of z', z) });
  return {
    name: `rows=${rows} in=${nIn} out=${nOut} uses=${uses}`,
    graph: g.build({ y }),
    ...{ rows: 1, time: rows, lengths: { time: rows }, given },
    differentiable: ['weight'],
    terms: rows * uses,
  };
}

/**
 * 16 rows of the weight's gradient, evenly spaced with the first and the last among them, of results that have all; exact where
 * none are given.
 */
export function comparedRows({ given }: OperationCase, of?: ArrayLike<number>): Tensor {
  const [nOut, nIn] = given.get('weight')!.shape as [number, number];
  const count = Math.min(nOut, COMPARED_ROWS);
  const rows = Array.from({ length: count }, (_, i) => Math.floor((i * (nOut - 1)) / Math.max(1, count - 1)));
  if (of) {
    return tensor(
      [count, nIn],
      rows.flatMap((row) => Array.from({ length: nIn }, (_, i) => of[row * nIn + i]!)),
    );
  }
  const [dy, x, z] = [given.get('dy')!, given.get('x')!, given.get('z')];
  const exact = zerosOf([count, nIn]);
  for (let t = 0; t < dy.shape[1]!; t++) {
    for (let r = 0; r < count; r++) {
      const g = dy.data[t * nOut + rows[r]!]!;
      for (let i = 0; i < nIn; i++) {
        const at = t * nIn + i;
        exact.data[r * nIn + i]! += g * (z ? x.data[at]! + z.data[at]! : x.data[at]!);
      }
    }
  }
  return exact;
}

/** Multiples of 1/32 up to `most`. */
const steps = (value: number, most: number): number =>
  Math.max(-most, Math.min(most, Math.round(value * 32) / 32));

/**
 * Two layers with a function between. Its arguments are multiples of 1/32 up to 4, which every type holds: a row of x has three
 * numbers ±1, weights are below 1. So each result of the function and of its slope is rounded once.
 */
export function functionCase(sizes: {
  rows: number;
  nEmbd: number;
  nInner: number;
  function: string;
}): OperationCase {
  const { rows, ...widths } = sizes;
  const one = mlpsCase({ rows: 1, time: rows, ...widths, pairs: 1 });
  const random = new Random(rows);
  const chosen = Array.from({ length: rows * 3 }, () => random.integer(widths.nEmbd));
  return withValues(one, (value, name, i) => {
    if (name === '0.fc') return steps(value * Math.sqrt(widths.nEmbd / 3), 0.96875);
    if (name === 'fc.bias') return steps(value / 4, 1);
    if (name !== 'x') return toEveryType(value);
    const row = Math.floor(i / widths.nEmbd);
    const isChosen = chosen.slice(3 * row, 3 * row + 3).includes(i % widths.nEmbd);
    return isChosen ? (value < 0 ? -1 : 1) : 0;
  });
}
