import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { main } from '../../../lib/cli/main';
import { tinyTokenizer } from '../support/tokenizer';

let folder: string;
let output: { out: string; err: string };
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'prepare-cli-'));
  await writeFile(path.join(folder, 'book.txt'), 'the cat sat on the mat.\n'.repeat(20));
  output = { out: '', err: '' };
  const collect = (key: 'out' | 'err') => (chunk: unknown) => {
    output[key] += String(chunk);
    return true;
  };
  jest.spyOn(process.stdout, 'write').mockImplementation(collect('out'));
  jest.spyOn(process.stderr, 'write').mockImplementation(collect('err'));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const prepare = (...args: string[]): Promise<number> =>
  main(['prepare', path.join(folder, 'book.txt'), '--output', path.join(folder, 'made'), ...args]);

describe('tesserae prepare', () => {
  it('makes a folder of token files, and says what is in it', async () => {
    expect(await prepare()).toBe(0);
    expect(output).toMatchObject({
      err: '',
      out: expect.stringMatching(/train.*432 tokens, 1 document\n/) as string,
    });
    expect((await readdir(path.join(folder, 'made'))).sort()).toEqual([
      'train.bin',
      'train.json',
      'val.bin',
      'val.json',
    ]);
    const { inputs } = JSON.parse(await readFile(path.join(folder, 'made/train.json'), 'utf8')) as {
      inputs: string[];
    };
    expect(inputs).toEqual(['../book.txt']);
  });

  it('warns on standard error if nothing separates documents', async () => {
    const docs = path.join(folder, 'docs.jsonl');
    await writeFile(docs, '{"text":"one"}\n{"text":"two"}\n');
    const plain = tinyTokenizer();
    plain.added_tokens = [];
    const file = path.join(folder, 'tokenizer.json');
    const run = (name: string, ...args: string[]): Promise<number> =>
      main(['prepare', docs, '--output', path.join(folder, name), '--validation-fraction', '0', ...args]);
    await writeFile(file, JSON.stringify(plain));
    await run('none', '--tokenizer', file);
    expect(output.err).toMatch(/no token separates the documents.*--end-of-text/);
    output.err = '';
    await run('named', '--tokenizer', file, '--end-of-text', 'Ġthe', '--start-token', '3');
    await writeFile(file, JSON.stringify(tinyTokenizer()));
    await run('own', '--tokenizer', file);
    expect(output.err).toBe('');
    await run('bytes');
    expect(output.err).toMatch(/no token separates the documents: bytes have no such token/);
    output.err = '';
    await run('wrong', '--tokenizer', file, '--end-of-text', '<x>');
    expect(output.err).toMatch(/ERR_CONFIG.*endOfTextToken.*is not a token of the tokenizer/);
  });

  it('says it as JSON', async () => {
    expect(await prepare('--json', '--validation-fraction', '0')).toBe(0);
    expect(JSON.parse(output.out)).toMatchObject({
      type: 'prepare',
      train: { tokens: 480, dtype: 'uint16' },
    });
  });

  it('replaces what it made of the same inputs, and nothing else', async () => {
    expect(await prepare('--format', 'llmc')).toBe(0);
    expect(await prepare()).toBe(0);
    expect((await stat(path.join(folder, 'made/train.bin'))).size).toBe(2 * 432);
    await writeFile(path.join(folder, 'other.txt'), 'other text '.repeat(20));
    const other = ['prepare', path.join(folder, 'other.txt'), '--output', path.join(folder, 'made')];
    expect(await main(other)).toBe(1);
    expect(output.err).toMatch(
      /ERR_DATA: .*made' is not replaced, because it was made from other inputs \(\.\.\/book\.txt\)/,
    );
    await writeFile(path.join(folder, 'made/notes.md'), 'mine');
    expect(await prepare()).toBe(1);
    expect(output.err).toContain("because it contains 'notes.md'");
    expect((await stat(path.join(folder, 'made/train.bin'))).size).toBe(2 * 432);
  });

  it('does not touch other token files', async () => {
    await mkdir(path.join(folder, 'made'));
    await writeFile(path.join(folder, 'made/train.bin'), Uint8Array.of(1, 0));
    expect(await prepare()).toBe(1);
    expect(output.err).toContain('no JSON file says which inputs its train.bin was made from');
  });

  it('leaves nothing when it fails', async () => {
    await writeFile(path.join(folder, 'bad.jsonl'), '{"text": "a"}\n{');
    expect(await main(['prepare', folder, '--output', path.join(folder, 'made'), '--json'])).toBe(1);
    expect(JSON.parse(output.err)).toMatchObject({
      type: 'error',
      code: 'ERR_DATA',
      details: { line: 2, offset: 14 },
    });
    expect((await readdir(folder)).sort()).toEqual(['bad.jsonl', 'book.txt']);
  });

  it("says why a folder can't be made", async () => {
    expect(
      await main(['prepare', path.join(folder, 'book.txt'), '--output', path.join(folder, 'book.txt')]),
    ).toBe(1);
    expect(output.err).toMatch(/ERR_DATA: .*is a file, not a folder/);
    const below = path.join(folder, 'book.txt/made');
    expect(await main(['prepare', path.join(folder, 'book.txt'), '--output', below])).toBe(1);
    expect(output.err).toMatch(/ERR_DATA: /);
  });

  it.each<[string[], string]>([
    [['prepare', '--output', 'x'], "missing required argument 'inputs'"],
    [['prepare', 'x.txt'], "required option '--output <folder>' not specified"],
    [['prepare', 'x.txt', '--output', 'x', '--dtype', 'int8'], 'Allowed choices are uint16, uint32'],
    [['prepare', 'x.txt', '--output', 'x', '--validation-fraction', '1'], 'at most 0.9'],
  ])('%j is wrong usage', async (args, message) => {
    expect(await main(args)).toBe(2);
    expect(output.err).toContain(message);
  });
});
