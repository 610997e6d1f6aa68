import { philox4x32 } from '../philox';

const ROUNDS = 12;

/** Fewest bits of half a number: with two, a permutation of five numbers prefers some orders, even after many rounds. */
const LEAST_HALF = 3;

/**
 * A random permutation of [0, size) that takes no memory: a Feistel network (Luby and Rackoff 1988) over the next power of
 * four (from 64 on), repeated until the result is in range (Black and Rogaway 2002), on average less than four times for more than 16 numbers. Keys of the
 * rounds are Philox4x32-10 of seed, epoch and stream; the round function is the finalizer of MurmurHash3.
 */
export class Permutation {
  private readonly keys: readonly number[];
  private readonly halfBits: number;

  /**
   * @param epoch - an integer in [0, 2^53).
   * @param stream - tells permutations of one epoch apart, in [0, 2^31).
   * @param size - at least 1, at most 2^31.
   */
  constructor(
    seed: number,
    epoch: number,
    stream: number,
    private readonly size: number,
  ) {
    const [seedLow, seedHigh] = [seed >>> 0, Math.floor(seed / 2 ** 32)];
    const [epochLow, epochHigh] = [epoch >>> 0, Math.floor(epoch / 2 ** 32)];
    this.keys = Array.from({ length: ROUNDS / 4 }, (_, i) =>
      philox4x32([i, stream, epochLow, epochHigh], [seedLow, seedHigh]),
    ).flat();
    this.halfBits = Math.max(LEAST_HALF, Math.ceil((32 - Math.clz32(size - 1)) / 2));
  }

  /** The image of `index` in [0, size). */
  at(index: number): number {
    let value = index;
    do value = this.network(value);
    while (value >= this.size);
    return value;
  }

  private network(value: number): number {
    const { halfBits, keys } = this;
    const mask = 2 ** halfBits - 1;
    let left = value >>> halfBits;
    let right = value & mask;
    for (let round = 0; round < ROUNDS; round++) {
      const next = left ^ (mix(right ^ (keys[round] as number)) & mask);
      left = right;
      right = next;
    }
    return ((left << halfBits) | right) >>> 0;
  }
}

/** MurmurHash3's fmix32 (Appleby 2011): every bit of the result depends on every bit of the word. */
function mix(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
