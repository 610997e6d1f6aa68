import { drawIndex, philox4x32 } from '../../../lib/data/philox';

describe('philox4x32', () => {
  // Known answers of Random123's kat_vectors.
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[~0, ~0, ~0, ~0], [~0, ~0], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ])('maps counter %p and key %p to the known answer', (counter, key, answer) => {
    const words = philox4x32(
      counter.map((word) => word >>> 0) as [number, number, number, number],
      key.map((word) => word >>> 0) as [number, number],
    );
    expect(words.map((word) => word.toString(16).padStart(8, '0')).join(' ')).toBe(answer);
  });
});

describe('drawIndex', () => {
  it('depends only on seed, step and sample', () => {
    expect(drawIndex(1, 2, 3, 1e6)).toBe(drawIndex(1, 2, 3, 1e6));
    const drawn = [
      drawIndex(1, 2, 3, 1e9),
      drawIndex(2, 2, 3, 1e9),
      drawIndex(1, 3, 3, 1e9),
      drawIndex(1, 2, 4, 1e9),
    ];
    expect(
      new Set([...drawn, drawIndex(1 + 2 ** 40, 2, 3, 1e9), drawIndex(1, 2 + 2 ** 33, 3, 1e9)]).size,
    ).toBe(6);
  });

  it('covers [0, below) evenly', () => {
    const counts = new Array<number>(10).fill(0);
    for (let sample = 0; sample < 10_000; sample++) {
      const index = drawIndex(7, 0, sample, 10);
      counts[index] = (counts[index] ?? NaN) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
    expect(drawIndex(7, 0, 0, 1)).toBe(0);
  });
});
