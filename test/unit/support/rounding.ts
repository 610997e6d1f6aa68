import type { Precision } from '../../../lib/native';

/**
 * Rounds to nearest, ties to even, in a binary type with `fraction` bits after the leading one and `least` as the
 * exponent of its smallest normal number; what is beyond `largest` becomes infinite.
 */
const nearest =
  (fraction: number, least: number, largest: number) =>
  (value: number): number => {
    if (value === 0 || !Number.isFinite(value)) return value;
    const quantum = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), least) - fraction);
    const steps = value / quantum; // exact: quantum is a power of two
    const below = Math.floor(steps);
    const rest = steps - below;
    const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
    const rounded = (below + (up ? 1 : 0)) * quantum;
    return Math.abs(rounded) > largest ? Math.sign(rounded) * Infinity : rounded;
  };

/** Rounds to the type that activations have in fp16 and bf16, and matrix operands in tf32. */
export const roundTo: Readonly<Record<Precision, (value: number) => number>> = {
  fp32: Math.fround,
  tf32: nearest(10, -126, Infinity),
  bf16: nearest(7, -126, Infinity),
  fp16: nearest(10, -14, 65504),
};

export const isHalf = (precision: Precision): precision is 'bf16' | 'fp16' =>
  precision === 'bf16' || precision === 'fp16';
