/** Words of 32 bits, as unsigned numbers. */
export type Words = readonly [number, number, number, number];

/**
 * Philox4x32-10 (Salmon et al. 2011): four random words that depend on the counter and the key alone, so that any draw
 * can be made without those before it.
 */
export function philox4x32(counter: Words, key: readonly [number, number]): Words {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The upper 32 bits of a product of unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (middle % 0x10000) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** An integer in [0, below), below at most 2^53, for one sample of one step. */
export function drawIndex(seed: number, step: number, sample: number, below: number): number {
  const split = (value: number): [number, number] => [value >>> 0, Math.floor(value / 2 ** 32)];
  const [a, b] = philox4x32([sample >>> 0, Math.floor(sample / 2 ** 32), ...split(step)], split(seed));
  const uniform = ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
  return Math.floor(uniform * below);
}
