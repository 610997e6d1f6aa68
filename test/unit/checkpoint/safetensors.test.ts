import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readSafetensors, writeSafetensors } from '../../../lib/checkpoint/safetensors';
import { headerLength, parseHeader } from '../../../lib/checkpoint/safetensors_header';
import { failureOf } from '../support/errors';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-safetensors-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const tensor = (name: string, shape: number[], values: number[]) => ({
  name,
  shape,
  read: async () => Float32Array.from(values),
});

/** A file with this header and this many bytes of data. */
function made(header: string | object, dataBytes: number): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header), 'latin1');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

const f32 = (shape: unknown, begin: number, end: number) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

async function opened(contents: Uint8Array): Promise<string[]> {
  const name = path.join(folder, 'given.safetensors');
  await writeFile(name, contents);
  const file = await readSafetensors(name);
  await file.close();
  return [...file.tensors.keys()];
}

describe('writeSafetensors', () => {
  it('writes what readSafetensors reads, sorted by name and aligned to 8 bytes', async () => {
    const name = path.join(folder, 'whole.safetensors');
    await writeSafetensors(name, [
      tensor('b', [2, 2], [1, 2, 3, 4]),
      tensor('__proto__', [1], [5]),
      tensor('a', [0], []),
      tensor('scalar', [], [7]),
    ]);
    const bytes = await readFile(name);
    expect(Number(bytes.readBigUInt64LE()) % 8).toBe(0);
    const file = await readSafetensors(name);
    expect([...file.metadata]).toEqual([['format', 'pt']]);
    expect([...file.tensors.keys()]).toEqual(['__proto__', 'a', 'b', 'scalar']);
    expect([...(await file.readFloat32('b'))]).toEqual([1, 2, 3, 4]);
    expect([...(await file.readFloat32('__proto__'))]).toEqual([5]);
    expect([...(await file.readFloat32('scalar'))]).toEqual([7]);
    await failureOf('ERR_CHECKPOINT', () => file.readFloat32('none'));
    await file.close();
  });
});

describe('readSafetensors', () => {
  it('accepts what the format allows', async () => {
    const header = {
      __metadata__: { a: 'b' },
      y: f32([1], 8, 12),
      x: { dtype: 'U8', shape: [2, 4], data_offsets: [0, 8] },
    };
    expect(await opened(made(header, 12))).toEqual(['y', 'x']);
    expect(await opened(made(`${JSON.stringify({ x: f32([], 0, 4) })}   `, 4))).toEqual(['x']);
    expect(await opened(made('{}', 0))).toEqual([]);
  });

  const entry = (fields: string): string => `{"x":{${fields}}}`;
  const refused: [string, Uint8Array, RegExp][] = [
    ['an empty file', Buffer.alloc(0), /it is empty/],
    ['a file cut in the length', Buffer.alloc(7), /7 bytes/],
    ['a header beyond the file', made('{}', 0).subarray(0, 9), /2 bytes, but the file only has 9/],
    ['a header beyond the limit', Buffer.from('ffffffffffffff7f', 'hex'), /more than the limit/],
    ['a header of 100,000,001 bytes', Buffer.from('01e1f50500000000', 'hex'), /100000001 bytes, more than/],
    ['a header that starts with a space', made(' {}', 0), /start with '{'/],
    ['no header', made('', 0), /start with '{'/],
    ['a header that is an array', made('[]', 0), /start with '{'/],
    ['a header that is not UTF-8', made('{"\xff":1}', 0), /not UTF-8/],
    ['a header that is not JSON', made('{x}', 0), /not valid JSON/],
    ['a name that is there twice', made('{"x":1,"x":2}', 0), /"x" occurs twice/],
    ['a field that is there twice', made(entry('"dtype":"F32","dtype":"F32"'), 0), /"dtype" occurs twice/],
    ['metadata that is not text', made({ __metadata__: { a: 1 } }, 0), /object of strings/],
    ['metadata that is not an object', made({ __metadata__: 'a' }, 0), /object of strings/],
    ['an entry that is not an object', made({ x: 1 }, 0), /"x": its entry/],
    ['an unknown dtype', made({ x: { ...f32([1], 0, 4), dtype: 'F31' } }, 4), /unknown dtype "F31"/],
    ['a dtype of Object', made({ x: { ...f32([1], 0, 4), dtype: 'constructor' } }, 4), /unknown dtype/],
    ['no dtype', made({ x: { shape: [1], data_offsets: [0, 4] } }, 4), /unknown dtype/],
    ['an unknown field', made({ x: { ...f32([1], 0, 4), stride: 1 } }, 4), /unknown field "stride"/],
    ['a negative size', made({ x: f32([-1], 0, 4) }, 4), /shape/],
    ['a size that is not an integer', made({ x: f32([0.5], 0, 2) }, 2), /shape/],
    ['no shape', made({ x: { dtype: 'F32', data_offsets: [0, 4] } }, 4), /shape/],
    ['a product beyond 2^53', made({ x: f32([2 ** 50, 2 ** 50], 0, 4) }, 4), /takes/],
    [
      'a size beyond 2^53',
      made(entry('"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]'), 4),
      /2\^53/,
    ],
    [
      'offsets beyond 2^53',
      made(entry('"dtype":"F32","shape":[1],"data_offsets":[9007199254740993,9007199254740997]'), 4),
      /2\^53/,
    ],
    ['one offset', made({ x: { dtype: 'F32', shape: [1], data_offsets: [0] } }, 4), /two offsets/],
    ['an end before the begin', made({ x: f32([1], 4, 0) }, 4), /before it begins/],
    [
      'a shape that does not fit its offsets',
      made({ x: f32([2], 0, 4) }, 4),
      /takes 8 bytes, but data_offsets give 4/,
    ],
    ['a gap', made({ x: f32([1], 0, 4), y: f32([1], 8, 12) }, 12), /gap of 4 bytes before tensor "y"/],
    ['a gap at the start', made({ x: f32([1], 4, 8) }, 8), /gap of 4/],
    ['an overlap', made({ x: f32([2], 0, 8), y: f32([2], 4, 12) }, 12), /"y" overlaps/],
    ['two tensors in one place', made({ x: f32([1], 0, 4), y: f32([1], 0, 4) }, 4), /overlaps/],
    ['a file that was cut off', made({ x: f32([2], 0, 8) }, 7), /is truncated/],
    ['bytes after the end', made({ x: f32([1], 0, 4) }, 5), /1 bytes follow/],
  ];
  it.each(refused)('refuses %s', async (_, contents, message) => {
    const failure = await failureOf('ERR_CHECKPOINT', () => opened(contents));
    expect(failure.message).toMatch(message);
    expect(failure.message).toContain('given.safetensors');
  });

  it('refuses a missing file, and values that are not floats', async () => {
    await failureOf('ERR_CHECKPOINT', () => readSafetensors(path.join(folder, 'none')));
    const name = path.join(folder, 'half.safetensors');
    await writeFile(name, made({ x: { dtype: 'I16', shape: [1], data_offsets: [0, 2] } }, 2));
    const file = await readSafetensors(name);
    expect((await failureOf('ERR_CHECKPOINT', () => file.readFloat32('x'))).message).toMatch(
      /is I16; only F32, F16, BF16/,
    );
    await file.close();
  });

  it('reads 16-bit floats, each exactly', async () => {
    const name = path.join(folder, 'floats.safetensors');
    const data = Buffer.alloc(16);
    // 1, -2, the smallest subnormal, the largest finite, infinity, NaN: as halves; then 1, -2 as bfloat16.
    [0x3c00, 0xc000, 0x0001, 0x7bff, 0xfc00, 0x7e00, 0x3f80, 0xc000].forEach((bits, i) =>
      data.writeUInt16LE(bits, 2 * i),
    );
    const header = {
      half: { dtype: 'F16', shape: [6], data_offsets: [0, 12] },
      brain: { dtype: 'BF16', shape: [2], data_offsets: [12, 16] },
    };
    await writeFile(name, Buffer.concat([made(header, 0), data]));
    const file = await readSafetensors(name);
    expect([...(await file.readFloat32('half'))]).toEqual([1, -2, 2 ** -24, 65504, -Infinity, NaN]);
    expect([...(await file.readFloat32('brain'))]).toEqual([1, -2]);
    await file.close();
  });

  it('waits for no pipe', async () => {
    const pipe = path.join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect((await failureOf('ERR_CHECKPOINT', () => readSafetensors(pipe))).message).toMatch(/not a file/);
    expect((await failureOf('ERR_CHECKPOINT', () => readSafetensors(folder))).message).toMatch(/not a file/);
  });

  it('keeps messages short, whatever a file calls its tensors', async () => {
    const long = { ['y'.repeat(100_000)]: f32([1], 4, 8), x: f32(Array(10_000).fill(1), 0, 8) };
    expect((await failureOf('ERR_CHECKPOINT', () => opened(made(long, 8)))).message.length).toBeLessThan(
      1000,
    );
  });

  it('never accepts a valid file that lost or gained a byte', () => {
    const valid = made({ a: f32([2], 0, 8), b: f32([1], 8, 12) }, 12);
    const parse = (bytes: Buffer): unknown => {
      const length = headerLength(bytes.subarray(0, 8), bytes.length, 'x');
      return parseHeader(bytes.subarray(8, 8 + length), bytes.length, 'x');
    };
    expect(() => parse(valid)).not.toThrow();
    for (let size = 0; size < valid.length; size++)
      expect(() => parse(valid.subarray(0, size))).toThrow(/not a valid safetensors file/);
    expect(() => parse(Buffer.concat([valid, Buffer.alloc(1)]))).toThrow(/follow the last tensor/);
  });
});
