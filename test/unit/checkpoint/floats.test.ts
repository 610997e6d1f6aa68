import { FLOATS, narrowed, type StoredDtype } from '../../../lib/checkpoint/floats';

/** A value after it was stored; undefined if the dtype can't hold it. */
function stored(value: number, dtype: StoredDtype): number | undefined {
  const result = narrowed(Float32Array.of(value), dtype);
  return 'bytes' in result ? FLOATS.get(dtype.toUpperCase())?.(result.bytes)[0] : undefined;
}

/** The finite values of a 16-bit dtype that are not negative, in order: their bits count up. */
const positives = (dtype: 'F16' | 'BF16'): Float32Array => {
  const finite = dtype === 'F16' ? 0x7c00 : 0x7f80;
  const bits = Uint16Array.from({ length: finite }, (_, i) => i);
  return FLOATS.get(dtype)!(new Uint8Array(bits.buffer));
};

describe.each(['f16', 'bf16'] as const)('%s', (dtype) => {
  const values = positives(dtype.toUpperCase() as 'F16');

  it('keeps each of its values, of both signs', () => {
    const both = Float32Array.from([...values, ...values.map((value) => -value)]);
    const result = narrowed(both, dtype);
    if (!('bytes' in result)) throw new Error('none overflows');
    const bits = new Uint16Array(result.bytes.buffer);
    expect(bits.every((one, i) => one === (i < values.length ? i : 0x8000 + i - values.length))).toBe(true);
  });

  it('rounds to nearest, and ties to even', () => {
    // Single precision can hold the middle between two neighbours, and the values next to it on both sides.
    const middles = values.subarray(0, -1).map((value, i) => (value + values[i + 1]!) / 2);
    const bits = new Uint32Array(middles.buffer.slice(0));
    const beside = (step: number): Float32Array => new Float32Array(bits.map((one) => one + step).buffer);
    const rounded = (given: Float32Array): Uint16Array => {
      const result = narrowed(given, dtype);
      if (!('bytes' in result)) throw new Error('none overflows');
      return new Uint16Array(result.bytes.buffer);
    };
    const [down, tie, up] = [rounded(beside(-1)), rounded(middles), rounded(beside(1))];
    expect(down.every((one, i) => one === i)).toBe(true);
    expect(up.every((one, i) => one === i + 1)).toBe(true);
    expect(tie.every((one, i) => one === (i % 2 === 0 ? i : i + 1))).toBe(true);
  });

  it('keeps values that are not finite, and refuses those that would overflow', () => {
    expect([Infinity, -Infinity, NaN].map((value) => stored(value, dtype))).toEqual([
      Infinity,
      -Infinity,
      NaN,
    ]);
    const largest = values.at(-1)!;
    expect(stored(largest, dtype)).toBe(largest);
    const beyond = dtype === 'f16' ? 65520 : 3.4e38;
    expect(narrowed(Float32Array.of(1, -beyond, beyond), dtype)).toEqual({ overflow: 1 });
  });
});

it('f32 is what it was', () => {
  expect(stored(Math.fround(0.1), 'f32')).toBe(Math.fround(0.1));
});
