import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { loadModel, saveModel } from '../../lib/checkpoint/checkpoint';
import { readSafetensors, writeSafetensors } from '../../lib/checkpoint/safetensors';
import { Model } from '../../lib/models/model';
import { damagedText, expectCoded, mutated, type Json } from './support';

const CODES = ['ERR_CHECKPOINT', 'ERR_CONFIG'];
const CONFIG = 'config.json';
const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

let root: string;
/** A checkpoint in one file, and the same one in two. */
let whole: string;
let sharded: string;
beforeAll(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'tesserae-fuzz-'));
  whole = path.join(root, 'whole');
  const config = { type: 'gpt2', vocabSize: 19, nPositions: 8, nEmbd: 12, nHead: 2, nLayer: 1 } as const;
  using model = await Model.create(config, { device: 'cpu', threads: 1 });
  await saveModel(model, whole);
  sharded = path.join(root, 'sharded');
  cpSync(whole, sharded, { recursive: true });
  await shard(sharded);
});
afterAll(() => rmSync(root, { recursive: true }));

async function shard(directory: string): Promise<void> {
  const file = await readSafetensors(path.join(directory, WEIGHTS));
  const entries = await Promise.all(
    Array.from(file.tensors, async ([name, { shape }]) => {
      const values = await file.readFloat32(name);
      return { name, shape, read: async () => values };
    }),
  );
  await file.close();
  rmSync(path.join(directory, WEIGHTS));
  const places: Record<string, string> = {};
  for (const number of [0, 1]) {
    const name = `model-0000${number + 1}-of-00002.safetensors`;
    const part = entries.filter((_, i) => i % 2 === number);
    await writeSafetensors(path.join(directory, name), part);
    for (const entry of part) places[entry.name] = name;
  }
  writeFileSync(path.join(directory, INDEX), JSON.stringify({ metadata: {}, weight_map: places }));
}

/** Loads a checkpoint; a refusal has to be a coded error. */
async function load(directory: string): Promise<boolean> {
  try {
    const { model } = await loadModel(directory, { device: 'cpu', threads: 1 });
    model.dispose();
    return true;
  } catch (failure) {
    expectCoded(failure, CODES);
    return false;
  }
}

/** Reads everything in a safetensors file; a refusal has to be a coded error. */
async function readAll(file: string): Promise<boolean> {
  try {
    const opened = await readSafetensors(file);
    try {
      for (const [name, { dtype, shape }] of opened.tensors) {
        if (!['F32', 'F16', 'BF16'].includes(dtype)) continue;
        expect(await opened.readFloat32(name)).toHaveLength(shape.reduce((a, b) => a * b, 1));
      }
    } finally {
      await opened.close();
    }
    return true;
  } catch (failure) {
    expectCoded(failure, CODES);
    return false;
  }
}

/** Runs a property for a file whose content is replaced each time, and puts it back in the end. */
async function replacing(
  file: string,
  contents: fc.Arbitrary<string | Uint8Array>,
  attempt: () => Promise<unknown>,
  numRuns: number,
): Promise<void> {
  const before = readFileSync(file);
  try {
    await fc.assert(
      fc.asyncProperty(contents, async (content) => {
        writeFileSync(file, content);
        await attempt();
      }),
      { numRuns },
    );
  } finally {
    writeFileSync(file, before);
  }
}

const text = (directory: string, name: string): string => readFileSync(path.join(directory, name), 'utf8');
const json = (directory: string, name: string): Json => JSON.parse(text(directory, name)) as Json;

/** A document of another structure, or text that is not quite the document. */
const either = (valid: Json): fc.Arbitrary<string> =>
  fc.oneof(
    mutated(valid).map((changed) => JSON.stringify(changed)),
    damagedText(valid),
  );

/** The header of a safetensors file as a document, and the data after it. */
function parts(file: string): { header: Json; data: Buffer } {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  return {
    header: JSON.parse(bytes.subarray(8, 8 + length).toString()) as Json,
    data: bytes.subarray(8 + length),
  };
}

function assembled(header: string, data: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return Buffer.concat([length, Buffer.from(header), data]);
}

test('what is damaged is valid to begin with', async () => {
  expect(await load(whole)).toBe(true);
  expect(await load(sharded)).toBe(true);
});

test('config.json of another structure or damaged', async () => {
  const file = path.join(whole, CONFIG);
  await replacing(file, either(json(whole, CONFIG)), () => load(whole), 400);
});

test('an index of another structure or damaged', async () => {
  const file = path.join(sharded, INDEX);
  await replacing(file, either(json(sharded, INDEX)), () => load(sharded), 400);
});

test('a header of another structure or damaged', async () => {
  const file = path.join(whole, WEIGHTS);
  const { header, data } = parts(file);
  const contents = either(header).map((changed) => assembled(changed, data));
  await replacing(file, contents, async () => expect(await load(whole)).toBe(await same(file)), 600);

  /** Whether the model can still be there: all that a header may change is the order of tensors and its metadata. */
  async function same(name: string): Promise<boolean> {
    if (!(await readAll(name))) return false;
    const { header: now } = parts(name);
    const entries = (one: Json): string[] =>
      Object.entries(one as Record<string, { shape: number[]; dtype: string }>)
        .filter(([key]) => key !== '__metadata__')
        .map(([key, { shape, dtype }]) => `${key} ${dtype} ${shape.join()}`)
        .sort();
    return entries(now).join() === entries(header).join();
  }
});

test('a file with bytes flipped, lost or added', async () => {
  const file = path.join(whole, WEIGHTS);
  const valid = readFileSync(file);
  const damage = fc
    .array(
      fc.record({
        // Nine of ten places in the length and the header.
        at: fc.oneof(
          { weight: 9, arbitrary: fc.nat(valid.length - parts(file).data.length) },
          { weight: 1, arbitrary: fc.nat(valid.length) },
        ),
        lost: fc.nat(9),
        added: fc.uint8Array({ maxLength: 9 }),
      }),
      { minLength: 1, maxLength: 3 },
    )
    .map((changes) =>
      changes.reduce<Uint8Array>(
        (bytes, { at, lost, added }) =>
          Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + lost)]),
        valid,
      ),
    );
  await replacing(file, damage, async () => [await readAll(file), await load(whole)], 600);
});

test('files of random bytes', async () => {
  const file = path.join(root, 'random.safetensors');
  writeFileSync(file, '');
  const bytes = fc.uint8Array({ maxLength: 400 });
  const contents = fc.oneof(
    bytes,
    bytes.map((after) => assembled('{', after)),
    // A length of its own before what may look like a header.
    fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), bytes).map(([length, after]) => {
      const start = Buffer.alloc(8);
      start.writeBigUInt64LE(length);
      return Buffer.concat([start, Buffer.from('{"'), after]);
    }),
  );
  await replacing(file, contents, async () => expect(await readAll(file)).toBe(false), 1000);
});

test('offsets, shapes and dtypes that lie', async () => {
  const file = path.join(root, 'lies.safetensors');
  writeFileSync(file, '');
  const number = fc.oneof(
    fc.nat(64).map(String),
    fc.constantFrom(
      '-1',
      '-0',
      '0.5',
      '1e3',
      '1e400',
      '9007199254740991',
      '9007199254740993',
      '18446744073709551616',
    ),
  );
  const numbers = fc.array(number, { maxLength: 4 }).map((list) => `[${list.join()}]`);
  const dtype = fc.constantFrom(
    'F32',
    'F16',
    'BF16',
    'F64',
    'U8',
    'I64',
    'F4',
    'constructor',
    '__proto__',
    '',
  );
  const name = fc.constantFrom('a', 'b', '__proto__', 'constructor', '__metadata__', 'hasOwnProperty');
  const entry = fc
    .tuple(
      name,
      dtype,
      numbers,
      fc.oneof(
        numbers,
        fc.tuple(number, number).map(([a, b]) => `[${a},${b}]`),
      ),
    )
    .map(([key, type, shape, at]) => `"${key}":{"dtype":"${type}","shape":${shape},"data_offsets":${at}}`);
  const contents = fc
    .tuple(fc.array(entry, { maxLength: 4 }), fc.nat(64))
    .map(([entries, size]) => assembled(`{${entries.join()}}`, new Uint8Array(size)));
  await replacing(file, contents, () => readAll(file), 1500);
});

test('large headers end, read or refused', async () => {
  const file = path.join(root, 'large.safetensors');
  const open = async (header: string): Promise<number> => {
    writeFileSync(file, assembled(header, new Uint8Array()));
    const opened = await readSafetensors(file);
    await opened.close();
    return opened.tensors.size;
  };
  const refused = (header: string): Promise<void> =>
    open(header).then(
      () => expect(header).toBe('refused'),
      (failure: unknown) => expectCoded(failure, CODES),
    );
  const entry = (i: number): string => `"${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`;
  expect(await open(`{${Array.from({ length: 100_000 }, (_, i) => entry(i)).join()}}`)).toBe(100_000);
  await refused('{"a":'.repeat(2_000_000));
  await refused(`{"${'\\"'.repeat(5_000_000)}`);
  await refused(`{"${'\\'.repeat(10_000_000)}`);
  await refused(`{"a":${'9'.repeat(10_000_000)}}`);
  await refused(`{"${'y'.repeat(10_000_000)}":0}`);
});
