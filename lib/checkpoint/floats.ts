/** The dtypes of safetensors that weights may be stored in → their values in single precision, exactly. */
export const FLOATS: ReadonlyMap<string, (bytes: Uint8Array) => Float32Array> = new Map([
  ['F32', (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)],
  ['F16', (bytes) => widened(bytes, halfTable())],
  ['BF16', (bytes) => widened(bytes, brainTable())],
]);

/** The 65,536 values of a 16-bit dtype, by their bits: a look-up is several times as fast as arithmetic on each. */
type Table = Float32Array;

const halfTable = once((bits) => {
  const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
  const sign = bits >> 15 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});

/** bfloat16 is the upper half of a single. */
const brainTable = once((bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0] ?? NaN);

function once(valueOf: (bits: number) => number): () => Table {
  let table: Table | undefined;
  return () => (table ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => valueOf(bits)));
}

function widened(bytes: Uint8Array, table: Table): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const values = new Float32Array(halves.length);
  halves.forEach((bits, i) => (values[i] = table[bits] ?? NaN));
  return values;
}

/** Type of the weights in a file: fp32 unchanged, or rounded to fp16 or bf16. */
export type StoredDtype = 'f32' | 'f16' | 'bf16';
export const STORED_DTYPES = ['f32', 'f16', 'bf16'] as const satisfies StoredDtype[];

/** Bytes of a value. */
export const STORED_BYTES: Readonly<Record<StoredDtype, number>> = { f32: 4, f16: 2, bf16: 2 };

/**
 * Values in a dtype's bytes, rounded to nearest, ties to even. What is not finite stays so.
 *
 * @returns its bytes, or the index of the first finite value that is beyond the largest of the dtype.
 */
export function narrowed(
  values: Float32Array,
  dtype: StoredDtype,
): { readonly bytes: Uint8Array } | { readonly overflow: number } {
  if (dtype === 'f32') return { bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
  const [narrow, infinity] = dtype === 'f16' ? [toHalf, 0x7c00] : [toBrain, 0x7f80];
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const wide = bits[i] ?? 0;
    const half = narrow(wide);
    if ((half & 0x7fff) === infinity && (wide & 0x7fffffff) !== 0x7f800000) return { overflow: i };
    halves[i] = half;
  }
  return { bytes: new Uint8Array(halves.buffer) };
}

/** The bits of a half from those of a single. */
function toHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const fraction = bits & 0x7fffff;
  // 15 and 127 are the biases of the exponents.
  const exponent = ((bits >>> 23) & 0xff) - 127 + 15;
  if (exponent === 255 - 127 + 15) return sign | 0x7c00 | (fraction === 0 ? 0 : 0x200);
  if (exponent > 30) return sign | 0x7c00;
  // Below 2^-25 all round to zero. A half that is subnormal has its implicit bit shifted in.
  if (exponent < -10) return sign;
  const shift = exponent > 0 ? 13 : 14 - exponent;
  const kept = exponent > 0 ? (exponent << 10) | (fraction >>> 13) : (fraction | 0x800000) >>> shift;
  const rest = (exponent > 0 ? fraction : fraction | 0x800000) & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  // A carry goes on into the exponent, as it should.
  return sign | (kept + (rest > tie || (rest === tie && (kept & 1) === 1) ? 1 : 0));
}

/** The bits of a bfloat16 from those of a single. */
function toBrain(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}
