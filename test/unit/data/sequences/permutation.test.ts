import { Permutation } from '../../../../lib/data/sequences/permutation';

const all = (size: number, seed = 1, epoch = 0, stream = 0): number[] => {
  const permutation = new Permutation(seed, epoch, stream, size);
  return Array.from({ length: size }, (_, i) => permutation.at(i));
};

describe('Permutation', () => {
  it.each([1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4096, 4097])('has each of %d numbers once', (size) => {
    const places = new Set(all(size));
    expect(places.size).toBe(size);
    expect(Math.max(...places)).toBe(size - 1);
  });

  it('depends on seed, epoch and stream, to their last bit and beyond 2^32', () => {
    const orders = [
      all(50),
      all(50, 2),
      all(50, 1 + 2 ** 40),
      all(50, 1, 1),
      all(50, 1, 2 ** 40),
      all(50, 1, 0, 1),
    ];
    expect(all(50)).toEqual(orders[0]);
    expect(new Set(orders.map((order) => order.join())).size).toBe(orders.length);
  });

  it('finds a place in 2^31 numbers', () => {
    const permutation = new Permutation(3, 1, 0, 2 ** 31);
    const places = [0, 1, 2 ** 31 - 1].map((i) => permutation.at(i));
    expect(new Set(places).size).toBe(3);
    for (const place of places) expect(place).toBeLessThan(2 ** 31);
  });

  it('has no favourite order', () => {
    // 24 orders of 4 in 4,800 seeds: 200 each expected. Chi squared with 23 degrees of freedom is above 55 with a
    // probability of 2e-4; the seeds are fixed, so this either always passes or never.
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 4800; seed++) {
      const order = all(4, seed).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    const chi = [...counts.values()].reduce((sum, count) => sum + (count - 200) ** 2 / 200, 0);
    expect(counts.size).toBe(24);
    expect(chi).toBeLessThan(55);
  });

  it('does not keep neighbours together', () => {
    // On average, a random permutation keeps two of 2,000 pairs of neighbours as neighbours, in either order.
    const order = all(2000);
    const kept = order.slice(1).filter((place, i) => Math.abs(place - (order[i] as number)) === 1).length;
    expect(kept).toBeLessThan(10);
  });
});
