import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ByteTokenizer } from '../../../../lib/data/byte_tokenizer';
import { openText } from '../../../../lib/data/text';
import { openTokens, type OpenTokensOptions } from '../../../../lib/data/tokens';
import {
  descriptionPath,
  descriptionText,
  llmcHeader,
  type TokenDescription,
  type TokenDtype,
} from '../../../../lib/data/tokens/format';
import { packed } from '../../support/batches';
import { failureOf } from '../../support/errors';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-tokens-'));
});
afterAll(() => rm(folder, { recursive: true }));

const encoded = (ids: readonly number[], dtype: TokenDtype): Uint8Array =>
  new Uint8Array((dtype === 'uint16' ? Uint16Array : Uint32Array).from(ids).buffer);

const ramp = (length: number, below = 1000): number[] => Array.from({ length }, (_, i) => i % below);

async function file(name: string, contents: Uint8Array, about?: Partial<TokenDescription>): Promise<string> {
  const at = path.join(folder, name);
  await mkdir(path.dirname(at), { recursive: true });
  await writeFile(at, contents);
  if (about) await describeFile(at, contents, about);
  return at;
}

const describeFile = (at: string, contents: Uint8Array, about: Partial<TokenDescription>): Promise<void> =>
  writeFile(
    descriptionPath(at),
    descriptionText({
      version: 1,
      format: 'nanogpt',
      dtype: 'uint16',
      vocabSize: 1000,
      tokens: contents.length / 2,
      sha256: createHash('sha256').update(contents).digest('hex'),
      ...about,
    }),
  );

const request = { seed: 1, step: 0, microStep: 0, rows: 3 };

describe('openTokens', () => {
  it.each<[string, TokenDtype, boolean]>([
    ["nanoGPT's layout in uint16", 'uint16', false],
    ["nanoGPT's layout in uint32", 'uint32', false],
    ["llm.c's layout in uint16", 'uint16', true],
    ["llm.c's layout in uint32", 'uint32', true],
  ])('reads %s without a description', async (_what, dtype, header) => {
    const ids = ramp(400).map((id) => id + 100 * (dtype === 'uint32' ? 1000 : 1));
    const body = encoded(ids, dtype);
    const name = await file(
      `${dtype}${header ? '_llmc' : ''}.bin`,
      header ? Buffer.concat([llmcHeader(dtype, 400), body]) : body,
    );
    const vocabSize = Math.max(...ids) + 1;
    await using data = await openTokens(name, { blockSize: 8, vocabSize, ...(header ? {} : { dtype }) });
    expect(data).toMatchObject({ vocabSize, sizes: { train: 360, validation: 40 } });
    expect(data.tokenizer).toBeUndefined();
    const drawn = await data.train.batch(request);
    const batch = packed(drawn);
    expect(batch.rows).toBe(3);
    for (let at = 0; at < 24; at++) {
      expect(batch.targets[at]).toBe((batch.tokens[at] as number) + 1);
      if (at % 8 > 0) expect(batch.tokens[at]).toBe((batch.tokens[at - 1] as number) + 1);
    }
    expect(await data.train.batch(request)).toEqual(drawn);
    const windows = [];
    for await (const one of data.validation?.evaluationBatches(2, 5) ?? [])
      windows.push(...packed(one).tokens);
    expect(windows).toEqual(ids.slice(360, 392));
  });

  it('joins files, and crops over their ends', async () => {
    const ids = ramp(30);
    const names = await Promise.all(
      [0, 1, 2].map((i) => file(`shard${i}.bin`, encoded(ids.slice(i * 10, i * 10 + 10), 'uint16'))),
    );
    const options = { blockSize: 25, vocabSize: 30, validationFraction: 0 };
    await using data = await openTokens(names, options);
    const seen = new Set<number>();
    for (let step = 0; step < 40; step++) {
      const { tokens, targets } = packed(await data.train.batch({ ...request, rows: 1, step }));
      const first = tokens[0] as number;
      seen.add(first);
      expect([...tokens]).toEqual(ids.slice(first, first + 25));
      expect([...targets]).toEqual(ids.slice(first + 1, first + 26));
    }
    expect(seen).toEqual(new Set([0, 1, 2, 3, 4]));
  });

  it('draws the same rows as a text in memory', async () => {
    const text = 'the quick brown fox jumps over the lazy dog. '.repeat(20);
    const book = path.join(folder, 'book.txt');
    await writeFile(book, text);
    const name = await file('book.bin', encoded([...Buffer.from(text)], 'uint16'));
    await using fromText = await openText(book, { blockSize: 16 });
    await using fromTokens = await openTokens(name, { blockSize: 16, tokenizer: new ByteTokenizer() });
    expect(fromTokens.sizes).toEqual(fromText.sizes);
    expect(await fromTokens.train.batch(request)).toEqual(await fromText.train.batch(request));
    expect(fromTokens.tokenizer?.name).toBe('byte');
  });

  it('opens a folder of train.bin and val.bin, and what their descriptions say', async () => {
    const tokenizer = { name: 'byte' };
    const about = { tokenizer, vocabSize: 256 };
    await file('made/train.bin', encoded(ramp(100, 256), 'uint16'), about);
    await file('made/val.bin', encoded(ramp(50, 256), 'uint16'), about);
    await using data = await openTokens(path.join(folder, 'made'), { blockSize: 10, verify: true });
    expect(data).toMatchObject({ vocabSize: 256, sizes: { train: 100, validation: 50 } });
    expect(data.tokenizer?.name).toBe('byte');
    expect(data.train.tokenizer).toBe(data.tokenizer);
  });

  it('reports the progress of reading a whole file', async () => {
    const name = await file('scanned.bin', encoded(ramp(5_000_000), 'uint16'));
    const seen: [number, number][] = [];
    await using _data = await openTokens(name, {
      blockSize: 10,
      vocabSize: 1000,
      onProgress: (done, total) => seen.push([done, total]),
    });
    expect(seen.at(-1)).toEqual([10_000_000, 10_000_000]);
  });

  describe('of more than 4 GiB', () => {
    const BYTES = 6 * 2 ** 30;
    let large: string;
    beforeAll(async () => {
      large = path.join(folder, 'large.bin');
      const handle = await open(large, 'w');
      await handle.truncate(BYTES);
      // Past 4 GiB in bytes, and past 2^31 in tokens: the first of validation's share, and the last of all.
      await handle.write(encoded(ramp(64), 'uint16'), 0, 128, BYTES - 128);
      await handle.close();
      await describeFile(large, new Uint8Array(), { tokens: BYTES / 2 });
    });
    afterAll(() => rm(large));

    it('reads at any offset without loading it', async () => {
      expect((await stat(large)).blocks * 512).toBeLessThan(2 ** 20);
      const before = process.memoryUsage().rss;
      await using data = await openTokens(large, { blockSize: 31, validationFraction: 64 / (BYTES / 2) });
      expect(data.sizes).toEqual({ train: BYTES / 2 - 64, validation: 64 });
      const windows = [];
      for await (const batch of data.validation?.evaluationBatches(1, 2) ?? []) {
        const { tokens, targets } = packed(batch);
        windows.push([...tokens], [...targets]);
      }
      expect(windows).toEqual([0, 1, 31, 32].map((first) => Array.from({ length: 31 }, (_, i) => first + i)));
      const { tokens } = packed(await data.train.batch({ ...request, rows: 8 }));
      expect(new Set(tokens)).toEqual(new Set([0]));
      // A thread and its heap; the file has sixty times as much.
      expect(process.memoryUsage().rss - before).toBeLessThan(100 * 2 ** 20);
    });
  });

  describe('refuses', () => {
    const good = encoded(ramp(400), 'uint16');
    const llmc = (tokens: number): Buffer => Buffer.concat([llmcHeader('uint16', tokens), good]);
    const header = (index: number, value: number): Uint8Array => {
      const made = llmc(400);
      made.writeInt32LE(value, index * 4);
      return made;
    };

    it.each<[string, () => string | Promise<string>, RegExp, Partial<OpenTokensOptions>?]>([
      ['a missing file', () => path.join(folder, 'none.bin'), /none\.bin' does not exist/],
      ['a folder without token files', () => folder, /train\.bin' does not exist/],
      ['a folder among files', () => file('valid.bin', good), /is a folder/, { validation: tmpdir() }],
      ['an empty file', () => file('empty.bin', new Uint8Array()), /has no tokens/],
      [
        'half a token',
        () => file('odd.bin', good.subarray(1)),
        /799 bytes, which is not a whole number of uint16/,
      ],
      [
        'half a token of four bytes',
        () => file('odd32.bin', good.subarray(2)),
        /798 bytes.*not a whole number of uint32/,
        { dtype: 'uint32' },
      ],
      ['another version', () => file('v2.bin', header(1, 2)), /version 2 of llm\.c's layout at offset 4/],
      ['a negative count', () => file('neg.bin', header(2, -5)), /count of -5 tokens at offset 8/],
      [
        'a count above the size',
        () => file('more.bin', llmc(401)),
        /has 1824 bytes, not the 1826 of its 401 tokens/,
      ],
      ['a count below the size', () => file('less.bin', llmc(399)), /has 1824 bytes, not the 1822/],
      ['a header and no more', () => file('header.bin', llmcHeader('uint16', 0)), /has no tokens/],
      [
        'another dtype',
        () => file('dtype.bin', llmc(400)),
        /uint16, not uint32 as dtype says/,
        { dtype: 'uint32' },
      ],
      [
        'an id outside the vocabulary',
        () => file('id.bin', encoded([...ramp(399), 400], 'uint16')),
        /has the id 400 at offset 798, but its vocabulary has 400 tokens/,
        { vocabSize: 400 },
      ],
      [
        'an id of 2^32 - 1',
        () => file('id32.bin', encoded([...ramp(99), 2 ** 32 - 1], 'uint32')),
        /has the id 4294967295 at offset 396/,
        { dtype: 'uint32' },
      ],
      [
        'ids read as the wrong dtype',
        () => file('wrong.bin', encoded(ramp(400), 'uint32')),
        /wrong\.bin.*must have|has the id/,
        { vocabSize: 300 },
      ],
      [
        'a short file',
        () => file('short.bin', encoded(ramp(20), 'uint16')),
        /short\.bin' has 20 tokens.*at least 170/,
      ],
    ])('%s', async (_what, make, message, options = {}) => {
      const name = await make();
      const call = (): Promise<unknown> => openTokens(name, { blockSize: 16, vocabSize: 1000, ...options });
      expect((await failureOf('ERR_DATA', call)).message).toMatch(message);
    });

    it.each<[string, Partial<TokenDescription> | string, RegExp, Partial<OpenTokensOptions>?]>([
      ['one that is not JSON', '{', /about\d\.json' does not describe the token file/],
      ['one of something else', '{"model": 1}', /does not describe the token file.*Unrecognized key/s],
      ['another count', { tokens: 399 }, /has 800 bytes, not the 798 of its 399 tokens/],
      ['another layout', { format: 'llmc' }, /is not in the llmc layout/],
      ['another dtype', { dtype: 'uint32' }, /not the 1600 of its 400 tokens of uint32/],
      ['another hash', { sha256: '0'.repeat(64) }, /is damaged: its SHA-256/, { verify: true }],
      [
        'an unknown tokenizer',
        { tokenizer: { name: 'bpe' } },
        /tokenizer 'bpe', but this release has only byte/,
      ],
      [
        'a tokenizer that is not there',
        { tokenizer: { name: 'tokenizer.json' } },
        /tokenizer\.json.*the file does not exist/,
      ],
      [
        'a tokenizer of another vocabulary',
        { tokenizer: { name: 'byte' } },
        /vocabulary of 1000 tokens, but the tokenizer has 256/,
      ],
    ])('a description: %s', async (_what, about, message, options = {}) => {
      const name = await file(`about${index++}.bin`, good, typeof about === 'string' ? {} : about);
      if (typeof about === 'string') await writeFile(descriptionPath(name), about);
      const call = (): Promise<unknown> => openTokens(name, { blockSize: 16, ...options });
      expect((await failureOf('ERR_DATA', call)).message).toMatch(message);
    });
    let index = 0;

    it('ids outside the vocabulary that a description hides, when they are read', async () => {
      const name = await file('lying.bin', encoded(new Array<number>(400).fill(700), 'uint16'), {
        vocabSize: 500,
      });
      await using data = await openTokens(name, { blockSize: 16 });
      const { message } = await failureOf('ERR_DATA', () => data.train.batch(request));
      expect(message).toMatch(/has the id 700 at offset \d+, but its vocabulary has 500 tokens/);
    });

    it('to read on when a file was truncated while it is open, and does not crash', async () => {
      const name = await file('cut.bin', good, {});
      await using data = await openTokens(name, { blockSize: 16 });
      await data.train.batch(request);
      await truncate(name, 10);
      const { message, details } = await failureOf('ERR_DATA', () =>
        data.train.batch({ ...request, rows: 50 }),
      );
      expect(message).toMatch(/was truncated while it was open.*had 800 bytes/);
      expect(details['offset']).toBeGreaterThanOrEqual(10);
    });

    it('files of different vocabularies', async () => {
      const names = [
        await file('one.bin', good, { vocabSize: 1000 }),
        await file('two.bin', good, { vocabSize: 2000 }),
      ];
      const { message } = await failureOf('ERR_DATA', () => openTokens(names, { blockSize: 16 }));
      expect(message).toContain('were made with different tokenizers');
    });

    it('a file that nothing describes beside one of a tokenizer, unless that tokenizer is given', async () => {
      const bytes = encoded(new Array<number>(400).fill(7), 'uint16');
      const names = [
        await file('plain.bin', bytes),
        await file('bytes.bin', bytes, { vocabSize: 256, tokenizer: { name: 'byte' } }),
      ];
      const options = { blockSize: 16, vocabSize: 256 };
      const { message } = await failureOf('ERR_DATA', () => openTokens(names, options));
      expect(message).toContain('were made with different tokenizers');
      await using data = await openTokens(names, { ...options, tokenizer: new ByteTokenizer() });
      expect(data.tokenizer?.name).toBe('byte');
    });

    it.each<[unknown, Record<string, unknown>, string]>([
      [[], {}, 'paths'],
      ['x.bin', { blockSize: 0 }, 'blockSize'],
      ['x.bin', { validationFraction: 1 }, 'validationFraction'],
      ['x.bin', { dtype: 'int8' }, 'dtype'],
      ['x.bin', { vocabSize: 2 ** 31 }, 'vocabSize'],
      ['x.bin', { validation: 'y.bin', validationFraction: 0.5 }, 'validationFraction'],
    ])('the arguments %j, %j', async (paths, options, where) => {
      const call = (): Promise<unknown> => openTokens(paths as string, { blockSize: 16, ...options });
      expect((await failureOf('ERR_CONFIG', call)).details['path']).toBe(where);
    });

    it('a file with an unknown vocabulary, or with another one', async () => {
      const bare = await file('bare.bin', good);
      const { message } = await failureOf('ERR_CONFIG', () => openTokens(bare, { blockSize: 16 }));
      expect(message).toContain('give vocabSize, such as 50257');
      const described = await file('told.bin', good, {});
      await failureOf('ERR_CONFIG', () => openTokens(described, { blockSize: 16, vocabSize: 7 }));
    });
  });
});
