import { constants } from 'node:buffer';
import { open, type FileHandle } from 'node:fs/promises';
import { TesseraeError } from '../errors';
import { writeDurably, type WrittenFile } from './durable_file';
import { messageOf } from './files';
import {
  damaged,
  headerLength,
  LENGTH_BYTES,
  parseHeader,
  type SafetensorsHeader,
} from './safetensors_header';

/** A tensor to be written; its values are asked for when their turn comes, so that one at a time is in memory. */
export interface TensorSource {
  readonly name: string;
  readonly shape: readonly number[];
  readonly read: () => Promise<Float32Array>;
}

/** An open safetensors file whose header was found valid. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** The values of an F32 tensor. */
  readFloat32(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Opens a safetensors file and checks all of its structure.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` when it is missing or damaged.
 */
export async function readSafetensors(file: string): Promise<SafetensorsFile> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (cause) {
    throw new TesseraeError('ERR_CHECKPOINT', `'${file}' cannot be read: ${messageOf(cause)}`, {
      details: { file },
      cause,
    });
  }
  try {
    const { size } = await handle.stat();
    const start = await readBytes(handle, 0, Math.min(LENGTH_BYTES, size), file);
    const length = headerLength(start, size, file);
    const header = parseHeader(await readBytes(handle, LENGTH_BYTES, length, file), size, file);
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

/**
 * Writes tensors as F32, sorted by name, and waits until they are on the disk.
 *
 * @param metadata - texts of `__metadata__`.
 */
export async function writeSafetensors(
  file: string,
  tensors: readonly TensorSource[],
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<WrittenFile> {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1));
  return writeDurably(file, async (append) => {
    await append(headerBytes(sorted, metadata));
    for (const { name, shape, read } of sorted) {
      const values = await read();
      if (values.length !== elements(shape))
        throw new TesseraeError(
          'ERR_INTERNAL',
          `'${name}' has ${values.length} values, not ${elements(shape)}`,
        );
      await append(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
  });
}

function headerBytes(sorted: readonly TensorSource[], metadata: Readonly<Record<string, string>>): Buffer {
  const root = new Map<string, unknown>([['__metadata__', metadata]]);
  let offset = 0;
  for (const { name, shape } of sorted) {
    if (root.has(name)) throw new TesseraeError('ERR_INTERNAL', `the tensor '${name}' is there twice`);
    const end = offset + elements(shape) * 4;
    root.set(name, { dtype: 'F32', shape, data_offsets: [offset, end] });
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

/** Bytes that tensors have in a file. */
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
  if (entry.dtype !== 'F32')
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `tensor '${name}' of '${file}' is ${entry.dtype}; only F32 can be loaded: convert the file`,
    );
  const bytes = await readBytes(handle, entry.begin, entry.bytes, file);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
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
    if (bytesRead === 0) throw damaged(file, 'it was cut off while it was read');
    size += bytesRead;
  }
  return bytes;
}
