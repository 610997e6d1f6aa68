import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Tokenizer as Library } from 'tokenizers';
import { JsonTokenizer } from '../../../../lib/data/json_tokenizer';
import { prepareTokens, type PrepareOptions } from '../../../../lib/data/prepare/prepare';
import { openTokens } from '../../../../lib/data/tokens';
import { HEADER_BYTES } from '../../../../lib/data/tokens/format';
import { failureOf } from '../../support/errors';
import { cuttable, tinyTokenizer } from '../../support/tokenizer';

/** A BPE of `ab`, `é` and line feeds, without an unknown token. */
const LETTERS = path.join(__dirname, '../../../fixtures/tokenizers/letters.json');

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'prepare-'));
  await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(tinyTokenizer()));
});
afterAll(() => rm(folder, { recursive: true }));

const input = async (name: string, contents: string | Uint8Array): Promise<string> => {
  const at = path.join(folder, 'in', name);
  await mkdir(path.dirname(at), { recursive: true });
  await writeFile(at, contents);
  return at;
};

/** Makes token files in a new folder; returns its path and the result. */
async function prepared(inputs: readonly string[], options: Partial<PrepareOptions> = {}) {
  const output = path.join(folder, `out${count++}`);
  await mkdir(output);
  const made = await prepareTokens(output, {
    ...{ inputs, inputNames: inputs, tokenizer: 'byte', format: 'nanogpt', validationFraction: 0 },
    ...{ textKey: 'text', workers: 1 },
    ...options,
  });
  return { output, ...made };
}

const ids16 = async (file: string, start = 0): Promise<number[]> => {
  const bytes = new Uint8Array(await readFile(file)).slice(start);
  return [...new Uint16Array(bytes.buffer)];
};
const textOf = async (output: string, name = 'train.bin'): Promise<string> =>
  Buffer.from(await ids16(path.join(output, name))).toString();

/** More than a segment of lines of several lengths, some with multi-byte characters. */
const long = Array.from({ length: 22_000 }, (_, i) => `line ${i} of a löng téxt ${'x'.repeat(i % 50)}`).join(
  '\n',
);

describe('prepareTokens', () => {
  it('writes the bytes of a text, and says what is in the file', async () => {
    const { output, train, validation } = await prepared([await input('a.txt', '\uFEFFhéllo\n')]);
    expect(await textOf(output)).toBe('héllo\n');
    const sha256 = createHash('sha256')
      .update(await readFile(path.join(output, 'train.bin')))
      .digest('hex');
    expect(train).toMatchObject({
      ...{ version: 1, format: 'nanogpt', dtype: 'uint16', tokenizer: { name: 'byte' }, vocabSize: 256 },
      ...{ tokens: 7, documents: 1, sha256 },
    });
    expect(validation).toBeUndefined();
    expect(JSON.parse(await readFile(path.join(output, 'train.json'), 'utf8'))).toEqual(train);
  });

  it('gives the same whatever the number of threads', async () => {
    const lines = Array.from({ length: 1000 }, (_, i) =>
      JSON.stringify({ text: `document ${i}\n`.repeat(i % 90) }),
    );
    const inputs = [await input('long.txt', long), await input('many.jsonl', lines.join('\n'))];
    const tokenizer = path.join(folder, 'tokenizer.json');
    const [one, four] = await Promise.all(
      [1, 4].map((workers) => prepared(inputs, { tokenizer, workers, validationFraction: 0.2 })),
    );
    expect(four?.train).toEqual(one?.train);
    expect(four?.validation).toEqual(one?.validation);
    expect(one?.train.documents).toBeGreaterThan(0);
  });

  it('tokenises a text in parts as it does the whole', async () => {
    const tokenizer = new JsonTokenizer(JSON.stringify(tinyTokenizer()));
    const { output, train } = await prepared([await input('long.txt', long)], {
      tokenizer: path.join(folder, 'tokenizer.json'),
      format: 'llmc',
    });
    const ids = await ids16(path.join(output, 'train.bin'), HEADER_BYTES);
    const whole = await tokenizer.encode(long);
    expect(ids.length).toBe(whole.length + 1);
    expect(
      Buffer.from(Uint16Array.from(whole).buffer).equals(
        Buffer.from(Uint16Array.from(ids.slice(0, -1)).buffer),
      ),
    ).toBe(true);
    expect(ids.at(-1)).toBe(tokenizer.endOfTextToken);
    expect(train).toMatchObject({ format: 'llmc', documents: 1, endOfTextToken: tokenizer.endOfTextToken });
    await using data = await openTokens(output, { blockSize: 8, verify: true });
    expect(data.tokenizer).toMatchObject({ name: 'tokenizer.json', sha256: tokenizer.sha256 });
  });

  it('cuts a file only at places that change no token', async () => {
    const json = cuttable({});
    // Longer than a segment, with few tokens.
    const text = Array.from({ length: 4500 }, (_, i) => `the at on ${' '.repeat(220)}${i % 97}`).join('\r\n');
    const library = Library.fromString(JSON.stringify(json));
    const whole = (await library.encode(text, null, { addSpecialTokens: false })).getIds();
    const tokenizer = await input('cut.json', JSON.stringify(json));
    const { output } = await prepared([await input('cut.txt', text)], { tokenizer });
    const ids = await ids16(path.join(output, 'train.bin'));
    expect(ids.length).toBe(whole.length);
    expect(ids.every((id, i) => id === whole[i])).toBe(true);
  });

  it('tokenises a word of a million characters', async () => {
    const name = await input('word.txt', `the cat\n${'at'.repeat(500_000)}\nthe cat`);
    const { train } = await prepared([name], { tokenizer: path.join(folder, 'tokenizer.json') });
    expect(train.tokens).toBeGreaterThan(500_000);
  });

  it('reads one document per line of JSON lines, with the end-of-text token after each', async () => {
    const name = await input(
      'a.jsonl',
      '\uFEFF{"text": "one"}\r\n\n{"text": ""}\n{"id": 2, "text": "t\\nwo"}',
    );
    const { output, train } = await prepared([name], { tokenizer: path.join(folder, 'tokenizer.json') });
    const tokenizer = new JsonTokenizer(await readFile(path.join(output, 'tokenizer.json'), 'utf8'));
    expect(tokenizer.decode(await ids16(path.join(output, 'train.bin')))).toBe(
      'one<|endoftext|>t\nwo<|endoftext|>',
    );
    expect(train.documents).toBe(2);
  });

  describe('a file called .json', () => {
    const texts = ['one', 't "w\\o] [}', 'thrée,\n', '', 'five'];
    const objects = texts.map((text, id) => ({ id, more: { a: [1, { b: 'x]' }] }, text }));
    const expected = texts.join('');

    it.each([
      ['an array on one line', JSON.stringify(objects)],
      ['an array with a mark and spaces', `\uFEFF\n${JSON.stringify(objects, null, 4)}\n\n`],
      ['lines', objects.map((one) => JSON.stringify(one)).join('\n')],
    ])('is read as %s', async (_what, contents) => {
      const { output, train } = await prepared([await input('a.json', contents)]);
      expect(await textOf(output)).toBe(expected);
      expect(train.documents).toBe(4);
    });

    it('gives the same as JSON lines, however large, cut anywhere, by any number of threads', async () => {
      const many = Array.from({ length: 400 }, (_, i) => ({
        text: `document ${i} [{"\\`.repeat(1 + ((i * 7919) % 1500)),
      }));
      const lines = await input('many.jsonl', many.map((one) => JSON.stringify(one)).join('\n'));
      const array = await input('many.json', JSON.stringify(many));
      const one = await prepared([lines]);
      const four = await prepared([array], { workers: 4 });
      expect(four.train.sha256).toBe(one.train.sha256);
      expect(four.train.documents).toBe(400);
      const cut = await prepared([array], { workers: 3, validationFraction: 0.3 });
      expect((await textOf(cut.output)) + (await textOf(cut.output, 'val.bin'))).toBe(
        many.map(({ text }) => text).join(''),
      );
    });

    it('has its text under another key', async () => {
      const alpaca = JSON.stringify([{ instruction: 'a', output: 'b' }]);
      const { output } = await prepared([await input('alpaca.json', alpaca)], { textKey: 'output' });
      expect(await textOf(output)).toBe('b');
    });

    it.each([
      [
        '[{"instruction":"a","output":"b"}]',
        /line 1 \(offset 1\), has no key "text"; its keys are "instruction", "output"/,
      ],
      [
        '[{"text":"a"},\n {"text":"b","text":"c"}]',
        /line 2 \(offset 16\), is not JSON: the key "text" occurs twice/,
      ],
      ['["a", "b"]', /is not a JSON object/],
      ['[{"text":"a"},]', /has a ',' after the last element/],
      ['[,{"text":"a"}]', /has a ',' without an element before it/],
      ['[{"text":"a"} {"text":"b"}]', /offset 1\), is not JSON: expected nothing more/],
      ['[{"text":"a"}', /ends inside its array: the file was cut off/],
      ['[{"text":"a"}] x', /has something after the '\]' of its array/],
      ['{\n  "data": [{"text":"a"}]\n}', /neither a JSON array of objects nor JSON lines.*jq -c/],
      ['Call me Ishmael.', /neither a JSON array/],
      ['version https://git-lfs.github.com/spec/v1\n', /it is a Git LFS pointer/],
      ['[]', /no text for training/],
    ])('is refused: %s', async (contents, message) => {
      const name = await input('bad.json', contents);
      expect((await failureOf('ERR_DATA', () => prepared([name]))).message).toMatch(message);
    });
  });

  it('ends documents with the token that is named, and keeps what the tokenizer came with', async () => {
    const at = path.join(folder, 'named');
    await mkdir(at);
    await writeFile(path.join(at, 'tokenizer.json'), JSON.stringify(tinyTokenizer()));
    await writeFile(path.join(at, 'chat_template.jinja'), '{{ messages }}');
    const inputs = [await input('n.jsonl', '{"text": "a"}\n{"text": "b"}')];
    const { output, train } = await prepared(inputs, {
      tokenizer: at,
      endOfTextToken: 'Ġthe',
      startToken: 5,
    });
    const the = tinyTokenizer().model.vocab['Ġthe'];
    expect(train.endOfTextToken).toBe(the);
    expect((await ids16(path.join(output, 'train.bin'))).filter((id) => id === the)).toHaveLength(2);
    expect(await readFile(path.join(output, 'chat_template.jinja'), 'utf8')).toBe('{{ messages }}');
    const { tokenizer } = await openTokens(output, { blockSize: 2 });
    expect(tokenizer).toMatchObject({ endOfTextToken: the, startToken: 5 });
  });

  it('reads folders in order of names, and only files with known endings', async () => {
    for (const name of ['b.txt', 'a/z.md', 'a/y.jsonl', 'c.bin', 'B.TXT'])
      await input(`tree/${name}`, name.endsWith('jsonl') ? '{"text": "y"}' : name);
    const { output } = await prepared([path.join(folder, 'in/tree')]);
    expect(await textOf(output)).toBe('B.TXTya/z.mdb.txt');
  });

  it('keeps the last lines for validation', async () => {
    const { output, validation } = await prepared([await input('c.txt', 'one\ntwo\nthree\nfour\n')], {
      validationFraction: 0.4,
    });
    expect([await textOf(output), await textOf(output, 'val.bin')]).toEqual(['one\ntwo\nthree\n', 'four\n']);
    expect(validation?.documents).toBe(1);
    const lines = ['a', 'b', 'c', 'd'].map((text) => JSON.stringify({ text })).join('\n');
    const other = await prepared([await input('d.jsonl', lines)], { validationFraction: 0.5 });
    expect([await textOf(other.output), await textOf(other.output, 'val.bin')]).toEqual(['ab', 'cd']);
  });

  it('reads lines of JSON that are longer than a segment', async () => {
    const texts = ['short', 'long '.repeat(500_000), 'last'];
    const name = await input('e.jsonl', texts.map((text) => JSON.stringify({ text })).join('\n'));
    const { output, train } = await prepared([name], { workers: 3 });
    expect(await textOf(output)).toBe(texts.join(''));
    expect(train.documents).toBe(3);
  });

  it('says how far it is', async () => {
    const seen: number[][] = [];
    const name = await input('long.txt', long);
    await prepared([name], { onProgress: (...progress) => seen.push(progress) });
    const bytes = Buffer.byteLength(long);
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.at(-1)).toEqual([bytes, bytes]);
  });

  it('stops on request', async () => {
    const abort = new AbortController();
    const call = prepared([await input('long.txt', long)], {
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    await expect(call).rejects.toMatchObject({ name: 'AbortError' });
    await expect(prepared([], { signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
  });

  const latin1 = Buffer.concat([Buffer.from('one\ntwo\ncaf'), Buffer.of(0xe9), Buffer.from('\n')]);

  it.each<[string, () => Promise<string> | string, RegExp, Partial<PrepareOptions>?]>([
    ['a missing input', () => path.join(folder, 'none'), /input '.*none' does not exist/],
    ['a folder without texts', () => path.join(folder, 'out0'), /without files that end in \.txt/],
    ['nothing but empty files', () => input('empty.txt', ''), /no text for training/],
    [
      'too little for validation',
      () => input('f.txt', 'one line'),
      /no text for validation/,
      { validationFraction: 0.1 },
    ],
    ['another encoding', () => input('g.txt', latin1), /line 3 \(offset 8\), is not UTF-8 text/],
    ['a NUL byte', () => input('h.txt', 'one\ntw\0o'), /line 2 \(offset 6\), has a NUL byte/],
    [
      'a line that is not JSON',
      () => input('i.jsonl', '{"text": "a"}\n{"text": "b"'),
      /line 2 \(offset 14\), is not JSON/,
    ],
    [
      'a line that is no object',
      () => input('j.jsonl', '"text"\n'),
      /line 1 \(offset 0\), is not a JSON object/,
    ],
    [
      'a line without text',
      () => input('k.jsonl', '{"content": "a"}'),
      /has no key "text"; its keys are "content"\. Name.*--text-key/,
    ],
    ['a text that is none', () => input('l.jsonl', '{"text": 5}'), /no text in "text"/],
    [
      'a key of all objects',
      () => input('m.jsonl', '{"a": "b"}'),
      /has no key "toString"/,
      { textKey: 'toString' },
    ],
    ['a line in another encoding', () => input('n.jsonl', latin1), /line 1 \(offset 0\), is not JSON/],
    [
      'a tokenizer that is none',
      () => input('o.txt', 'a'),
      /can't be used as a tokenizer/,
      { tokenizer: __filename },
    ],
    [
      'a character without a token',
      () => input('q.txt', `${'aé\n'.repeat(300_000)}ab?`),
      /line 300001 \(offset 1200002\), has "\?", but the vocabulary/,
      { tokenizer: LETTERS },
    ],
    [
      'a character without a token in a line of JSON',
      () => input('q.jsonl', '{"text": "a"}\n{"text": "aé?"}'),
      /line 2 \(offset 14\), has "\?", but the vocabulary/,
      { tokenizer: LETTERS },
    ],
    [
      'a typo',
      () => input('o.txt', 'a'),
      /'bytes' does not exist: did you mean byte/,
      { tokenizer: 'bytes' },
    ],
  ])('refuses %s', async (_what, make, message, options = {}) => {
    const name = await make();
    const { message: told } = await failureOf('ERR_DATA', () => prepared([name], options));
    expect(told).toMatch(message);
  });

  it('refuses uint16 for a large vocabulary', async () => {
    const json = tinyTokenizer();
    const far = Array.from({ length: 70_000 }, (_, i) => [`far ${i}`, 1000 + i]);
    Object.assign(json.model.vocab, Object.fromEntries(far));
    // The library gives an added token the first id that is free, whatever the file says.
    for (const content of ['<|endoftext|>', '<far>'])
      json.model.vocab[content] = content === '<far>' ? 71_000 : 71_001;
    json.added_tokens = [{ id: 71_000, content: '<far>' }];
    const tokenizer = await input('large.json', JSON.stringify(json));
    const name = await input('p.txt', 'a<far>');
    await failureOf('ERR_CONFIG', () => prepared([name], { tokenizer, dtype: 'uint16' }));
    const { output, train } = await prepared([name], { tokenizer });
    expect(train).toMatchObject({ dtype: 'uint32', vocabSize: 71_002 });
    const bytes = new Uint8Array(await readFile(path.join(output, 'train.bin')));
    expect(new Uint32Array(bytes.buffer)[1]).toBe(71_000);
    expect((await readdir(output)).sort()).toEqual(['tokenizer.json', 'train.bin', 'train.json']);
  });
});
