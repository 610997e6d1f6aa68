/** Lengths that share a program: above the previous bucket, up to `time`. */
export interface Bucket {
  /** Positions per row, at most maxTokens. */
  readonly time: number;
  /** Number of sequences, at least one. */
  readonly count: number;
}

/** Most buckets: a program is compiled for each, and a model keeps at most eight. */
const MOST_BUCKETS = 8;

/** Times are multiples of this, and of more where the longest has more than CANDIDATES · 32 positions. */
const TIME_MULTIPLE = 32;
const CANDIDATES = 128;

/**
 * The buckets, at most eight, that leave the fewest positions unused when each row is padded to its bucket's time.
 *
 * @param histogram - how many sequences there are of each length, from 0 on.
 * @param longestTime - the upper bound of times: the smaller of blockSize and maxTokens, at least the longest sequence.
 */
export function chooseBuckets(histogram: Int32Array, longestTime: number): Bucket[] {
  const longest = histogram.findLastIndex((count) => count > 0);
  const multiple = TIME_MULTIPLE * Math.ceil(longest / (TIME_MULTIPLE * CANDIDATES));
  const times = Array.from({ length: Math.ceil(longest / multiple) }, (_, i) =>
    Math.min((i + 1) * multiple, longestTime),
  );
  // upTo[j]: sequences that fit times[j - 1]
  const upTo = [0];
  for (let length = 0, j = 0, count = 0; j < times.length; length++) {
    count += histogram[length] ?? 0;
    if (length === times[j]) j = upTo.push(count) - 1;
  }
  // least[j]: the fewest positions for the sequences that fit times[j - 1]; cuts: the same, one list a bucket count
  let least = times.map((time, j) => time * (upTo[j + 1] as number));
  let best = times.map((_, j) => [j]);
  for (let buckets = 2; buckets <= MOST_BUCKETS; buckets++) {
    const options = times.map((time, j) => {
      let positions = least[j] as number;
      let cuts = best[j] as number[];
      for (let i = 0; i < j; i++) {
        const split = (least[i] as number) + time * ((upTo[j + 1] as number) - (upTo[i + 1] as number));
        if (split < positions) {
          positions = split;
          cuts = [...(best[i] as number[]), j];
        }
      }
      return { positions, cuts };
    });
    least = options.map(({ positions }) => positions);
    best = options.map(({ cuts }) => cuts);
  }
  let before = 0;
  return (best.at(-1) ?? []).flatMap((j) => {
    const count = (upTo[j + 1] as number) - before;
    before = upTo[j + 1] as number;
    return count > 0 ? [{ time: times[j] as number, count }] : [];
  });
}
