import { packRows } from '../../../../lib/data/sequences/best_fit';
import { chooseBuckets } from '../../../../lib/data/sequences/buckets';
import { Random } from '../../support/random';

const rowsOf = (lengths: number[], blockSize: number): number[][] => {
  const { first, documents } = packRows(Int32Array.from(lengths), blockSize);
  return Array.from({ length: first.length - 1 }, (_, row) =>
    Array.from(documents.subarray(first[row], first[row + 1]), (document) => lengths[document] as number),
  );
};

describe('packRows', () => {
  it('puts each document where it leaves the least room', () => {
    expect(rowsOf([1, 2, 2, 3, 5, 6, 7], 8)).toEqual([[7, 1], [6, 2], [5, 3], [2]]);
  });

  it('gives a document that fills a row a row of its own', () => {
    expect(rowsOf([8, 8], 8)).toEqual([[8], [8]]);
    expect(rowsOf([1], 1)).toEqual([[1]]);
  });

  it('has every document once, no row too long, and little room left', () => {
    const lengths = [...new Random(1).ids([5000], 300).data].map((id) => id + 1).sort((a, b) => a - b);
    const { documents } = packRows(Int32Array.from(lengths), 512);
    expect(Int32Array.from(documents).sort()).toEqual(Int32Array.from({ length: 5000 }, (_, i) => i));
    const rows = rowsOf(lengths, 512);
    const total = lengths.reduce((a, b) => a + b, 0);
    for (const row of rows) expect(row.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(512);
    // The fewest rows that could hold them, and the last, which is empty.
    expect(rows.length).toBeLessThanOrEqual(Math.ceil(total / 512) + 1);
  });
});

describe('chooseBuckets', () => {
  const histogram = (counts: Record<number, number>, size: number): Int32Array => {
    const all = new Int32Array(size + 1);
    for (const [length, count] of Object.entries(counts)) all[Number(length)] = count;
    return all;
  };

  it('has one bucket for one length, of a multiple of 32, never above what is allowed', () => {
    expect(chooseBuckets(histogram({ 20: 7 }, 64), 64)).toEqual([{ time: 32, count: 7 }]);
    expect(chooseBuckets(histogram({ 20: 7 }, 64), 25)).toEqual([{ time: 25, count: 7 }]);
  });

  it('gives up to eight lengths a bucket each', () => {
    const lengths = [32, 64, 96, 128, 160, 192, 224, 256];
    const buckets = chooseBuckets(histogram(Object.fromEntries(lengths.map((at) => [at, at])), 256), 256);
    expect(buckets).toEqual(lengths.map((time) => ({ time, count: time })));
  });

  it('leaves as few positions unused as any choice of times', () => {
    const counts = { 30: 50, 60: 1, 90: 1, 120: 40, 150: 1, 200: 3, 250: 30, 280: 1, 310: 7, 340: 2, 380: 9 };
    const given = histogram(counts, 384);
    const buckets = chooseBuckets(given, 384);
    const positions = buckets.reduce((sum, { time, count }) => sum + time * count, 0);
    // Every subset of the times that holds the longest, of at most eight.
    const times = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352];
    let least = Infinity;
    for (let subset = 0; subset < 2 ** times.length; subset++) {
      const chosen = [...times.filter((_, i) => (subset >> i) & 1), 384];
      if (chosen.length > 8) continue;
      const padded = (length: number): number => chosen.find((time) => time >= length) as number;
      const cost = Object.entries(counts).reduce((sum, [length, n]) => sum + n * padded(Number(length)), 0);
      least = Math.min(least, cost);
    }
    expect(positions).toBe(least);
    expect(buckets.reduce((sum, { count }) => sum + count, 0)).toBe(145);
  });

  it('takes coarser times for long sequences', () => {
    const buckets = chooseBuckets(histogram({ 5: 1, 1_000_000: 1 }, 1_048_576), 1_048_576);
    expect(buckets.map(({ count }) => count)).toEqual([1, 1]);
    expect(buckets[1]?.time).toBeGreaterThanOrEqual(1_000_000);
  });
});
