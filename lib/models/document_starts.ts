import type { Capacity } from './capacities';

/**
 * For each position the index of the first token of its document (rows, time). Padding after a row's end is a document of its
 * own, and so is an unused row, so that every position sees something.
 */
export function startsOf(
  documents: readonly (readonly number[] | Int32Array)[] | undefined,
  lengths: readonly number[] | Int32Array,
  { rows, lengths: { time = 1 } }: Capacity,
): Int32Array {
  const starts = new Int32Array(rows * time);
  lengths.forEach((length, r) => {
    const firsts = [...(documents?.[r] ?? [0]), length];
    firsts.forEach((first, i) => starts.fill(first, r * time + first, r * time + (firsts[i + 1] ?? time)));
  });
  return starts;
}
