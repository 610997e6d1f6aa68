import { dropoutFactor, type RandomState } from './philox';
import { elements, map, type Tensor } from './tensor';

/** Inverted dropout (Srivastava et al. 2014): x (B, …, C). Its gradient is the same operation on dy. */
export function dropout(x: Tensor, p: number, site: string, random: RandomState): Tensor {
  const factor = dropoutFactor(random, site, p);
  const columns = x.shape.at(-1)!;
  const rowsOfSample = elements(x.shape.slice(1, -1));
  return map(x, (value, i) => {
    const row = Math.floor(i / columns);
    return value * factor(Math.floor(row / rowsOfSample), row % rowsOfSample, i % columns);
  });
}
