import { constants } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { TesseraeError } from '../errors';
import { recognise, RECOGNISED_BYTES } from '../files/recognise';
import { openFile } from '../files/regular_file';
import { writeDurably, type WrittenFile } from './durable_file';
import { readError } from './files';
import { FLOATS, narrowed, STORED_BYTES, type StoredDtype } from './floats';
import {
  damaged,
  headerLength,
  LENGTH_BYTES,
  parseHeader,
  type SafetensorsHeader,
} from './safetensors_header';

/** A tensor to write. Its values are read when it is written, so that one tensor at a time is in memory. */
export interface TensorSource {
  readonly name: string;
  readonly shape: readonly number[];
  readonly read: () => Promise<Float32Array>;
}

/** An open safetensors file with a valid header. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** The values of an F32, F16 or BF16 tensor. */
  readFloat32(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Opens a safetensors file and checks all of its structure.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` if it is missing or damaged.
 */
export async function readSafetensors(file: string): Promise<SafetensorsFile> {
  let handle: FileHandle;
  try {
    handle = await openFile(file);
  } catch (cause) {
    throw readError(file, cause);
  }
  try {
    const header = await readHeader(handle, (await handle.stat()).size, file);
    return {
      ...header,
      readFloat32: (name) => readFloat32(handle, header, name, file),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readHeader(handle: FileHandle, size: number, file: string): Promise<SafetensorsHeader> {
  const start = await readBytes(handle, 0, Math.min(RECOGNISED_BYTES, size), file);
  try {
    const length = headerLength(start.subarray(0, LENGTH_BYTES), size, file);
    return parseHeader(await readBytes(handle, LENGTH_BYTES, length, file), size, file);
  } catch (error) {
    const other = recognise(start, 'safetensors');
    throw other === undefined ? error : damaged(file, `it is ${other}`);
  }
}

/**
 * Writes tensors, sorted by name, and waits until they are on the disk.
 *
 * @param dtype - the type to round to.
 * @throws TesseraeError `ERR_CHECKPOINT` for a value beyond the range of the dtype, with the name of its tensor, or if the
 * file can't be written.
 */
export async function writeSafetensors(
  file: string,
  tensors: readonly TensorSource[],
  dtype: StoredDtype = 'f32',
): Promise<WrittenFile> {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1));
  return writeDurably(file, async (append) => {
    await append(headerBytes(sorted, dtype));
    for (const { name, shape, read } of sorted) {
      const values = await read();
      if (values.length !== elements(shape))
        throw new TesseraeError(
          'ERR_INTERNAL',
          `'${name}' has ${values.length} values, not ${elements(shape)}`,
        );
      const stored = narrowed(values, dtype);
      if ('overflow' in stored)
        throw new TesseraeError(
          'ERR_CHECKPOINT',
          `'${name}' has ${values[stored.overflow]} at index ${stored.overflow}, which ${dtype} can't hold: write f32` +
            `${dtype === 'f16' ? ' or bf16' : ''}`,
          { details: { tensor: name, index: stored.overflow } },
        );
      await append(stored.bytes);
    }
  });
}

function headerBytes(sorted: readonly TensorSource[], dtype: StoredDtype): Buffer {
  // transformers loads no file that does not say what library it is for.
  const root = new Map<string, unknown>([['__metadata__', { format: 'pt' }]]);
  let offset = 0;
  for (const { name, shape } of sorted) {
    if (root.has(name)) throw new TesseraeError('ERR_INTERNAL', `the tensor '${name}' occurs twice`);
    const end = offset + elements(shape) * STORED_BYTES[dtype];
    root.set(name, { dtype: dtype.toUpperCase(), shape, data_offsets: [offset, end] });
    offset = end;
  }
  // Entries one by one: an object could not hold every name.
  const fields = Array.from(root, ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  const json = Buffer.from(`{${fields.join(',')}}`, 'utf8');
  // Spaces after the header make the data begin at a multiple of 8.
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = Buffer.alloc(LENGTH_BYTES + length, ' ');
  bytes.writeBigUInt64LE(BigInt(length));
  json.copy(bytes, LENGTH_BYTES);
  return bytes;
}

/** Bytes that tensors have in a file, as f32. */
export const bytesOf = (tensors: readonly Pick<TensorSource, 'shape'>[]): number =>
  tensors.reduce((sum, { shape }) => sum + elements(shape) * 4, 0);

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

async function readFloat32(
  handle: FileHandle,
  { tensors }: SafetensorsHeader,
  name: string,
  file: string,
): Promise<Float32Array> {
  const entry = tensors.get(name);
  if (!entry) throw new TesseraeError('ERR_CHECKPOINT', `'${file}' has no tensor '${name}'`);
  const widen = FLOATS.get(entry.dtype);
  if (!widen)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `tensor '${name}' of '${file}' is ${entry.dtype}; only ${[...FLOATS.keys()].join(', ')} can be loaded: ` +
        'convert the file',
    );
  return widen(await readBytes(handle, entry.begin, entry.bytes, file));
}

async function readBytes(
  handle: FileHandle,
  begin: number,
  length: number,
  file: string,
): Promise<Uint8Array> {
  if (length > constants.MAX_LENGTH) throw damaged(file, `a tensor of ${length} bytes is too large`);
  const bytes = new Uint8Array(length);
  let size = 0;
  while (size < length) {
    const chunk = Math.min(length - size, 2 ** 30);
    const { bytesRead } = await handle.read(bytes, size, chunk, begin + size);
    if (bytesRead === 0) throw damaged(file, 'it was truncated while it was read');
    size += bytesRead;
  }
  return bytes;
}
