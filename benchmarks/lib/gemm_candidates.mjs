// The ways to compute a product, by the names that native code gives them: 'sm90 128 × 192', 'cuBLASLt 3' for the library's
// third choice, 'cuBLASLt 3 + slope' where another kernel follows it.

export const isLibrary = ({ name }) => name.startsWith('cuBLASLt');
export const isSeparate = ({ name }) => name.includes(' + ');
export const isOwn = (candidate) => !isLibrary(candidate);

/** The place of an algorithm in cuBLASLt's list, from 1. */
export const libraryChoice = ({ name }) => Number(/\d+/.exec(name)[0]);

/** The candidate with the highest rate; undefined without any. */
export const fastest = (candidates) => candidates.toSorted((a, b) => b.rate - a.rate)[0];

/** A rate with four digits, as results.jsonl keeps it. */
export const rounded = (rate) => Number(rate.toPrecision(4));
