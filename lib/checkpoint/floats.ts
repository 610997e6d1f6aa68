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
