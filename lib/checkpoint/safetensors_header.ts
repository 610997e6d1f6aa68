import { TesseraeError } from '../errors';
import { JsonError, parseJsonMaps, type StrictJson } from '../files/json';

/** Bytes of one value of each dtype that safetensors knows and that is whole bytes. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** Where a tensor is in its file. */
export interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Offset of its first byte in the file. */
  readonly begin: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

/** The format's limit on the header's length. */
export const MAX_HEADER_BYTES = 100_000_000;
/** The number of bytes at the start of the file that hold the header's length, little-endian. */
export const LENGTH_BYTES = 8;

/**
 * The length of the header, from the first 8 bytes of a file.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when it is beyond the file or the format's limit.
 */
export function headerLength(start: Uint8Array, fileBytes: number, file: string): number {
  if (start.length < LENGTH_BYTES)
    throw damaged(file, `it has ${fileBytes} bytes, fewer than the ${LENGTH_BYTES} of a header's length`);
  const length = Buffer.from(start.buffer, start.byteOffset, LENGTH_BYTES).readBigUInt64LE();
  if (length > BigInt(MAX_HEADER_BYTES))
    throw damaged(
      file,
      `its header claims to have ${length} bytes, more than the limit of ${MAX_HEADER_BYTES}`,
    );
  if (Number(length) + LENGTH_BYTES > fileBytes)
    throw damaged(file, `its header claims to have ${length} bytes, but the file only has ${fileBytes}`);
  return Number(length);
}

/**
 * Parses a header and checks it against the file's size: tensors must tile the data without gap or overlap.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` if the header is wrong.
 */
export function parseHeader(header: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
  const root = parseText(header, file);
  const metadata = metadataOf(root.get('__metadata__'), file);
  const start = LENGTH_BYTES + header.length;
  const entries: [string, TensorEntry][] = [];
  for (const [name, value] of root)
    if (name !== '__metadata__') entries.push([name, tensorOf(name, value, start, file)]);
  checkTiling(entries, start, fileBytes, file);
  return { metadata, tensors: new Map(entries) };
}

function parseText(header: Uint8Array, file: string): Map<string, StrictJson> {
  if (header[0] !== 0x7b) throw damaged(file, "its header does not start with '{'");
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    throw damaged(file, 'its header is not UTF-8');
  }
  try {
    return parseJsonMaps(text) as Map<string, StrictJson>;
  } catch (cause) {
    if (cause instanceof JsonError) throw damaged(file, `its header is not valid JSON: ${cause.message}`);
    throw cause;
  }
}

function metadataOf(value: StrictJson | undefined, file: string): Map<string, string> {
  if (value === undefined) return new Map();
  const texts = value instanceof Map ? [...value] : undefined;
  if (!texts?.every((entry): entry is [string, string] => typeof entry[1] === 'string'))
    throw damaged(file, '__metadata__ must be an object of strings');
  return new Map(texts);
}

function tensorOf(name: string, value: StrictJson, start: number, file: string): TensorEntry {
  const wrong = (what: string): TesseraeError => damaged(file, `tensor ${JSON.stringify(name)}: ${what}`);
  if (!(value instanceof Map)) throw wrong('its entry is not an object');
  const extra = [...value.keys()].find((key) => !['dtype', 'shape', 'data_offsets'].includes(key));
  if (extra !== undefined) throw wrong(`unknown field ${JSON.stringify(extra)}`);
  const dtype = value.get('dtype');
  const width =
    typeof dtype === 'string' && Object.hasOwn(DTYPE_BYTES, dtype) ? DTYPE_BYTES[dtype] : undefined;
  if (typeof dtype !== 'string' || width === undefined)
    throw wrong(`unknown dtype ${JSON.stringify(dtype instanceof Map ? '{}' : dtype)}`);
  const shape = value.get('shape');
  if (!isSizes(shape)) throw wrong('its shape is not an array of non-negative integers');
  const offsets = value.get('data_offsets');
  if (!isSizes(offsets) || offsets.length !== 2) throw wrong('its data_offsets are not two offsets');
  const [begin, end] = offsets as [number, number];
  if (end < begin) throw wrong(`its data ends at ${end}, before it begins at ${begin}`);
  const bytes = shape.reduce((product, size) => product * size, width);
  if (!Number.isSafeInteger(bytes) || bytes !== end - begin)
    throw wrong(`${dtype} [${shape.join(', ')}] takes ${bytes} bytes, but data_offsets give ${end - begin}`);
  return { dtype, shape, begin: start + begin, bytes };
}

function isSizes(value: StrictJson | undefined): value is number[] {
  return (
    Array.isArray(value) &&
    value.every((size) => typeof size === 'number' && Number.isSafeInteger(size) && size >= 0)
  );
}

function checkTiling(
  entries: readonly [string, TensorEntry][],
  start: number,
  fileBytes: number,
  file: string,
): void {
  let at = start;
  const inOrder = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.bytes - b.bytes);
  for (const [name, { begin, bytes }] of inOrder) {
    if (begin < at) throw damaged(file, `tensor ${JSON.stringify(name)} overlaps the one before it`);
    if (begin > at)
      throw damaged(file, `there is a gap of ${begin - at} bytes before tensor ${JSON.stringify(name)}`);
    at = begin + bytes;
  }
  if (at > fileBytes) throw damaged(file, `it is truncated: it has ${fileBytes} bytes of ${at}`);
  if (at < fileBytes) throw damaged(file, `${fileBytes - at} bytes follow the last tensor`);
}

/** The error for a file that can't be trusted. `what` is cut: names and shapes of a file may be of any length. */
export function damaged(file: string, what: string): TesseraeError {
  const why = what.length > 500 ? `${what.slice(0, 500)}…` : what;
  return new TesseraeError('ERR_CHECKPOINT', `'${file}' is not a valid safetensors file: ${why}`, {
    details: { file },
  });
}
