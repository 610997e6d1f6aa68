import type { Precision } from '../../../lib/native';

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/**
 * Rounds an fp32 number (to which fp64 is rounded first, as kernels do) to nearest, ties to even, in a binary type with
 * `fraction` bits after the leading one and `least` as the exponent of its smallest normal number; values beyond `largest`
 * become infinite.
 */
const nearest = (fraction: number, least: number, largest: number) => {
  const normal = 2 ** least;
  // Adding it leaves no bit below that of the smallest number.
  const magic = 1.5 * 2 ** (52 + least - fraction);
  const dropped = 23 - fraction;
  const half = 2 ** (dropped - 1) - 1;
  const kept = ~(2 ** dropped - 1);
  return (value: number): number => {
    if (!Number.isFinite(value)) return value;
    if (Math.abs(value) < normal) return value + magic - magic;
    float[0] = value;
    bits[0] = (bits[0]! + half + ((bits[0]! >>> dropped) & 1)) & kept;
    const rounded = float[0];
    return Math.abs(rounded) > largest ? Math.sign(rounded) * Infinity : rounded;
  };
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
