import type { Tensor } from '../../oracles/tensor';

/** The gradient of f at x by central differences; leaves x as it was. */
export function finiteDifferences(f: () => number, x: Tensor, step = 1e-5): Float64Array {
  return x.data.map((value, i) => {
    x.data[i] = value + step;
    const above = f();
    x.data[i] = value - step;
    const below = f();
    x.data[i] = value;
    return (above - below) / (2 * step);
  });
}
