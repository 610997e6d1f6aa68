const low = (x: bigint): number => Number(x & 0xffffffffn);

/**
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3) in BigInt.
 *
 * @param key 64 bits
 * @param counter four words; only their low 32 bits count
 */
export function philox(key: bigint, counter: readonly [number, number, number, number]): number[] {
  const word = (x: bigint): bigint => BigInt.asUintN(32, x);
  let [c0, c1, c2, c3] = counter.map((value) => word(BigInt(value))) as [bigint, bigint, bigint, bigint];
  let k0 = word(key);
  let k1 = word(key >> 32n);
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c0;
    const p1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, word(p1), (p0 >> 32n) ^ c3 ^ k1, word(p0)];
    k0 = word(k0 + 0x9e3779b9n);
    k1 = word(k1 + 0xbb67ae85n);
  }
  return [c0, c1, c2, c3].map(low);
}

/** A uniform number in [0, 1) from the upper 24 of 32 random bits. */
export const uniform01 = (bits: number): number => (bits >>> 8) / 2 ** 24;

/** 64-bit FNV-1a of a name's UTF-8 bytes, then a mixing step: what a site adds to the key of its random numbers. */
export function hashName(name: string): bigint {
  let h = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(name)) {
    h = BigInt.asUintN(64, (h ^ BigInt(byte)) * 0x100000001b3n);
  }
  h ^= h >> 33n;
  h = BigInt.asUintN(64, h * 0xff51afd7ed558ccdn);
  return h ^ (h >> 33n);
}

/** Where in training a random number is drawn. */
export interface RandomState {
  readonly seed: number;
  /** Optimizer steps attempted so far. */
  readonly attempted: number;
  /** Index in the optimizer step of the batch's first row. */
  readonly firstSample: number;
}

export const atStart = (seed: number): RandomState => ({ seed, attempted: 0, firstSample: 0 });

/**
 * The factor that dropout multiplies an element with: 0 with probability p, else 1/(1−p). One Philox call covers four
 * neighbouring columns; its counter is (column ÷ 4, row in the sample, sample of the step, attempted step).
 */
export function dropoutFactor(
  random: RandomState,
  site: string,
  p: number,
): (sample: number, row: number, column: number) => number {
  const key = BigInt(random.seed) ^ hashName(site);
  const drawn = new Map<string, number[]>();
  return (sample, row, column) => {
    const counter = [Math.floor(column / 4), row, random.firstSample + sample, random.attempted] as const;
    const name = counter.join();
    let bits = drawn.get(name);
    if (!bits) drawn.set(name, (bits = philox(key, [...counter])));
    return uniform01(bits[column % 4]!) >= p ? 1 / (1 - p) : 0;
  };
}
