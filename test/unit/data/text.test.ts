import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openText } from '../../../lib/data/text';
import { packed } from '../support/batches';
import { failureOf } from '../support/errors';

const TEXT = 'the quick brown fox jumps over the lazy dog. '.repeat(20);

let folder: string;
const file = async (name: string, contents: string | Uint8Array): Promise<string> => {
  const name_ = path.join(folder, name);
  await writeFile(name_, contents);
  return name_;
};

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-text-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe('openText', () => {
  it('joins files, splits them and draws the same batches for the same request', async () => {
    await using data = await openText([await file('a.txt', TEXT), await file('b.txt', TEXT)], {
      blockSize: 16,
    });
    expect(data.sizes).toEqual({ train: 1620, validation: 180 });
    expect(data.tokenizer.name).toBe('byte');
    const request = { seed: 1, step: 0, microStep: 0, rows: 2 };
    const [first, again, other] = await Promise.all([
      data.train.batch(request),
      data.train.batch(request),
      data.train.batch({ ...request, step: 1 }),
    ]);
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    expect(packed(first).rows).toBe(2);
    expect(TEXT + TEXT).toContain(data.tokenizer.decode(packed(first).tokens.subarray(0, 16)));
  });

  it('gives the same evaluation windows every time', async () => {
    await using data = await openText(await file('c.txt', TEXT), { blockSize: 16 });
    const read = async (): Promise<string[]> => {
      const texts: string[] = [];
      for await (const batch of data.validation?.evaluationBatches(2, 2) ?? [])
        texts.push(data.tokenizer.decode(packed(batch).tokens));
      return texts;
    };
    const windows = await read();
    expect(windows.map(({ length }) => length)).toEqual([32, 32]);
    expect(await read()).toEqual(windows);
  });

  it('leaves a byte order mark out at the start of each file', async () => {
    const options = { blockSize: 16, validationFraction: 0 };
    const marked = [await file('e.txt', `\uFEFF${TEXT}`), await file('f.txt', `\uFEFF${TEXT}`)];
    await using data = await openText(marked, options);
    expect(data.sizes.train).toBe(2 * TEXT.length);
    const alone = await file('mark.txt', '\uFEFF');
    expect((await failureOf('ERR_DATA', () => openText(alone, options))).message).toContain('is empty');
    const nul = await file('nul.txt', '\uFEFFa\0');
    expect((await failureOf('ERR_DATA', () => openText(nul, options))).details).toMatchObject({ offset: 4 });
  });

  it('has no validation part with validationFraction 0', async () => {
    await using data = await openText(await file('d.txt', TEXT), { blockSize: 16, validationFraction: 0 });
    expect(data.validation).toBeUndefined();
    expect(data.sizes.train).toBe(900);
  });

  it.each([
    ['a file that is missing', async () => path.join(folder, 'none.txt'), /none\.txt' does not exist/],
    ['a directory', async () => folder, /is a folder/],
    ['an empty file', () => file('empty.txt', ''), /is empty/],
    ['a binary file', () => file('b.bin', Uint8Array.of(65, 66, 0, 67)), /NUL byte at offset 2.*UTF-8/],
    [
      'text in another encoding',
      () => file('latin1.txt', Uint8Array.of(99, 97, 102, 233)),
      /is not UTF-8 text/,
    ],
    ['a short text', () => file('short.txt', 'hello'), /has 5 tokens.*at least 170/],
  ])('refuses %s', async (_, make, message) => {
    const name = await make();
    expect((await failureOf('ERR_DATA', () => openText(name, { blockSize: 16 }))).message).toMatch(message);
  });

  it.each([
    [[], { blockSize: 16 }, 'paths'],
    [[''], { blockSize: 16 }, 'paths'],
    ['x.txt', { blockSize: 0 }, 'blockSize'],
    ['x.txt', { blockSize: 16, validationFraction: 1 }, 'validationFraction'],
  ])('refuses the arguments %j, %j', async (paths, options, where) => {
    expect((await failureOf('ERR_CONFIG', () => openText(paths, options))).details['path']).toBe(where);
  });

  it('rejects after close', async () => {
    const data = await openText(await file('e.txt', TEXT), { blockSize: 16 });
    const request = { seed: 1, step: 0, microStep: 0, rows: 2 };
    const pending = data.train.batch(request);
    await Promise.all([failureOf('ERR_DISPOSED', () => pending), data.close()]);
    await failureOf('ERR_DISPOSED', () => data.train.batch(request));
  });
});
