import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { openTokenizer } from '../../../lib/data/tokenizers';
import { requireRowsFor } from '../../../lib/data/vocabulary_fit';
import { failureOf } from '../support/errors';
import { tinyTokenizer } from '../support/tokenizer';

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'roles-'));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => jest.restoreAllMocks());

/** Ids from here on are those of the tokens that `put` adds. */
const FIRST = Object.keys(tinyTokenizer().model.vocab).length;

/** A tokenizer.json with special tokens, which its model has too, and with ordinary ones after them. */
function json(special: readonly string[], ordinary: readonly string[] = []): string {
  const made = tinyTokenizer();
  made.added_tokens = special.map((content, i) => ({ id: FIRST + i, content, special: true }));
  [...special, ...ordinary].forEach((token, i) => (made.model.vocab[token] = FIRST + i));
  return JSON.stringify(made);
}

/** Writes files into a new folder; gives the path of its tokenizer.json. */
async function put(files: Record<string, unknown>): Promise<string> {
  const at = path.join(folder, `${count++}`);
  await mkdir(at);
  for (const [name, contents] of Object.entries(files))
    await writeFile(path.join(at, name), typeof contents === 'string' ? contents : JSON.stringify(contents));
  return path.join(at, 'tokenizer.json');
}

const warnings = (): jest.SpyInstance =>
  jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

describe('roles of tokens', () => {
  it.each([
    ['<|endoftext|>', '<|endoftext|>'],
    ['<s>', '</s>'],
    ['[BOS]', '[EOS]'],
    ['<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>'],
    ['[CLS]', '[SEP]'],
  ])('are told by the names of special tokens: %s, %s', (start, end) => {
    const special = [...new Set(['<pad>', '<unk>', start, end])];
    expect(new JsonTokenizer(json(special))).toMatchObject({
      startToken: FIRST + special.indexOf(start),
      endOfTextToken: FIRST + special.indexOf(end),
      padToken: FIRST,
      unknownToken: FIRST + 1,
    });
  });

  it('are not those of ordinary tokens that look like special ones', () => {
    const one = new JsonTokenizer(json(['<s>', '</s>'], ['<|endoftext|>', '<pad>', '<unk>']));
    expect(one).toMatchObject({ startToken: FIRST, endOfTextToken: FIRST + 1 });
    expect(one.padToken).toBeUndefined();
    expect(one.unknownToken).toBeUndefined();
    expect(new JsonTokenizer(json([], ['</s>', '[EOS]'])).endOfTextToken).toBeUndefined();
  });

  it('have the ids that the library gives, whatever the file says', () => {
    const made = tinyTokenizer();
    made.added_tokens = ['<s>', '</s>'].map((content, i) => ({ id: FIRST + 7 - i, content, special: true }));
    const one = new JsonTokenizer(JSON.stringify(made));
    expect(one).toMatchObject({ startToken: FIRST, endOfTextToken: FIRST + 1, vocabSize: FIRST + 2 });
  });

  const FILES: readonly [string, object][] = [
    ['tokenizer_config.json', { eos_token: { content: '<a>', special: true } }],
    ['special_tokens_map.json', { eos_token: '<b>' }],
    ['generation_config.json', { eos_token_id: [FIRST + 2, FIRST] }],
    ['config.json', { eos_token_id: FIRST + 3 }],
    ['tokenizer.json', JSON.parse(json(['<a>', '<b>', '<c>', '<d>', '</s>'])) as object],
  ];

  it.each(FILES.map(([name], i) => [name, i] as const))(
    'are those of %s where nothing before says',
    async (_, i) => {
      warnings();
      const file = await put({ ...Object.fromEntries(FILES.slice(i)), 'tokenizer.json': FILES[4]![1] });
      expect((await JsonTokenizer.fromFile(file)).endOfTextToken).toBe(FIRST + i);
    },
  );

  it('are warned of, once, where files disagree', async () => {
    const told = warnings();
    const file = await put({ ...Object.fromEntries(FILES.slice(1)) });
    await JsonTokenizer.fromFile(file);
    await JsonTokenizer.fromFile(file);
    expect(told.mock.calls).toEqual([
      [
        expect.stringMatching(/disagree.*ends a text: "<b>" \(\d+\) in special_tokens_map.json, "<c>"/),
        { code: 'ERR_DATA' },
      ],
    ]);
  });

  it('do not disagree where one of several ids is the token', async () => {
    const told = warnings();
    const [config, , generation, , tokenizer] = FILES;
    const file = await put(Object.fromEntries([config!, generation!, tokenizer!]));
    expect((await JsonTokenizer.fromFile(file)).endOfTextToken).toBe(FIRST);
    expect(told).not.toHaveBeenCalled();
  });

  it('are not those of ids that are words, such as the 50256 that models keep of GPT-2', async () => {
    const told = warnings();
    const file = await put({
      'tokenizer.json': json(['</s>']),
      'config.json': { eos_token_id: 5, bos_token_id: -1 },
    });
    expect(await JsonTokenizer.fromFile(file)).toMatchObject({ endOfTextToken: FIRST, startToken: FIRST });
    expect(told).not.toHaveBeenCalled();
  });

  it('cause a warning if the vocabulary lacks the token', async () => {
    const told = warnings();
    const file = await put({
      'tokenizer.json': json(['</s>']),
      'tokenizer_config.json': { pad_token: '[PAD]' },
    });
    expect((await JsonTokenizer.fromFile(file)).padToken).toBeUndefined();
    const lacking: unknown = expect.stringMatching(
      /"\[PAD\]" fills rows, but the vocabulary has no such token/,
    );
    expect(told).toHaveBeenCalledWith(lacking, { code: 'ERR_DATA' });
  });

  it('may be named by the caller, by text or id', async () => {
    const file = await put({
      'tokenizer.json': json(['<a>', '</s>'], ['7']),
      'tokenizer_config.json': { eos_token: '</s>', chat_template: 'x' },
    });
    for (const endOfTextToken of ['<a>', FIRST, String(FIRST)]) {
      const one = await openTokenizer(file, { endOfTextToken });
      expect(one.endOfTextToken).toBe(FIRST);
      expect(JSON.parse(one.files!['tokenizer_config.json']!)).toEqual({
        eos_token: '<a>',
        chat_template: 'x',
      });
    }
    for (const endOfTextToken of ['<x>', '99999', -1]) {
      const { message, details } = await failureOf('ERR_CONFIG', () =>
        openTokenizer(file, { endOfTextToken }),
      );
      expect(message).toMatch(/is not a token of the tokenizer.*"<a>", "<\/s>"/);
      expect(details['path']).toBe('endOfTextToken');
    }
    await failureOf('ERR_CONFIG', () => openTokenizer('byte', { startToken: 10 }));
  });

  it("that only the model's files name are kept with the tokenizer", async () => {
    const file = await put({
      'tokenizer.json': json(['<x>', '<y>']),
      'config.json': { eos_token_id: FIRST + 1 },
    });
    const { files } = await JsonTokenizer.fromFile(file);
    expect(JSON.parse(files!['tokenizer_config.json']!)).toMatchObject({ eos_token: '<y>' });
    const again = await put({ 'tokenizer.json': json(['<x>', '<y>']), ...files });
    expect((await JsonTokenizer.fromFile(again)).endOfTextToken).toBe(FIRST + 1);
  });

  it('are not read from neighbours of a file of another name', async () => {
    const file = await put({
      'tokenizer_config.json': { eos_token: '<a>' },
      'mine.json': json(['<a>', '</s>']),
    });
    const mine = path.join(path.dirname(file), 'mine.json');
    expect((await JsonTokenizer.fromFile(mine)).endOfTextToken).toBe(FIRST + 1);
  });

  it.each([
    [
      '{"eos_token": "</s>",}',
      /tokenizer_config.json' can't be read: it is not valid JSON: line 1, column 22/,
    ],
    ['{"eos_token": "a", "eos_token": "b"}', /"eos_token" occurs twice/],
    ['[]', /it is not a JSON object/],
    ['version https://git-lfs.github.com/spec/v1\n', /it is a Git LFS pointer/],
  ])('are refused where the file is %s', async (contents, message) => {
    const file = await put({ 'tokenizer.json': json(['</s>']), 'tokenizer_config.json': contents });
    expect((await failureOf('ERR_DATA', () => JsonTokenizer.fromFile(file))).message).toMatch(message);
  });
});

describe('vocab.json and merges.txt', () => {
  const made = tinyTokenizer();
  const vocab = { ...made.model.vocab, '<|endoftext|>': FIRST };
  const merges = `#version: 0.2\r\n${made.model.merges.join('\r\n')}\r\n`;
  const pair = (more: Record<string, unknown> = {}): Promise<string> =>
    put({ 'vocab.json': vocab, 'merges.txt': merges, ...more }).then((file) => path.dirname(file));

  it('are the byte-level tokenizer that a tokenizer.json would be', async () => {
    const at = await pair();
    const same = new JsonTokenizer(JSON.stringify(made));
    for (const given of [at, path.join(at, 'vocab.json'), path.join(at, 'merges.txt')]) {
      const one = await openTokenizer(given);
      expect(one).toMatchObject({ vocabSize: FIRST + 1, endOfTextToken: FIRST, startToken: FIRST });
      for (const text of [' the cat sat on the mat', 'naïve — 漢字 😀\n\n  x', 'a<|endoftext|>b'])
        expect([...(await one.encode(text))]).toEqual([...(await same.encode(text))]);
      expect(one.decode(await one.encode(' the 😀'))).toBe(' the 😀');
    }
  });

  it('are read with the tokens that files beside them add', async () => {
    const at = await pair({
      'added_tokens.json': { '[PAD]': FIRST + 1, ' word': FIRST + 2 },
      'special_tokens_map.json': { pad_token: '[PAD]', eos_token: '<|endoftext|>' },
      'tokenizer_config.json': {
        tokenizer_class: 'GPT2Tokenizer',
        add_prefix_space: true,
        unk_token: 'constructor',
      },
    });
    jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const one = await openTokenizer(at);
    expect(one).toMatchObject({ vocabSize: FIRST + 3, padToken: FIRST + 1, endOfTextToken: FIRST });
    const { added_tokens, pre_tokenizer } = JSON.parse(one.json!) as {
      added_tokens: { content: string; special: boolean }[];
      pre_tokenizer: object;
    };
    expect(added_tokens.map(({ content, special }) => [content, special])).toEqual([
      ['<|endoftext|>', true],
      ['[PAD]', true],
      [' word', false],
    ]);
    expect(pre_tokenizer).toMatchObject({ type: 'ByteLevel', add_prefix_space: true });
    expect([...(await one.encode('[PAD]'))]).toEqual([FIRST + 1]);
  });

  it('may have the name of a model before theirs', async () => {
    const file = await put({ 'gpt2-vocab.json': vocab, 'gpt2-merges.txt': merges });
    expect((await openTokenizer(path.join(path.dirname(file), 'gpt2-vocab.json'))).vocabSize).toBe(FIRST + 1);
  });

  it.each<[string, Record<string, unknown>, string, RegExp]>([
    ['no merges', { 'vocab.json': vocab }, 'vocab.json', /needs 'merges.txt'.*save_pretrained/],
    ['no merges in a folder', { 'vocab.json': vocab }, '.', /needs 'merges.txt'/],
    ['no vocabulary', { 'merges.txt': merges }, '.', /the merges of.*needs 'vocab.json'/],
    ['neither', { 'spiece.model': 'x' }, '.', /neither a tokenizer.json nor.*but 'spiece.model'/],
    ['a vocabulary of words', { 'vocab.json': { 'a</w>': 0 }, 'merges.txt': '' }, '.', /not byte-level/],
    [
      'another class',
      {
        'vocab.json': vocab,
        'merges.txt': merges,
        'tokenizer_config.json': { tokenizer_class: 'CLIPTokenizer' },
      },
      '.',
      /belongs to a CLIPTokenizer/,
    ],
    [
      'a vocabulary that is a list',
      { 'vocab.json': ['a'], 'merges.txt': merges },
      '.',
      /not a JSON object of tokens/,
    ],
    [
      'merges of three',
      { 'vocab.json': vocab, 'merges.txt': 'a b\na b c\n' },
      '.',
      /line 2 is not two tokens/,
    ],
    [
      'merges that are a pointer',
      { 'vocab.json': vocab, 'merges.txt': 'version https://git-lfs.github.com/spec/v1\n' },
      '.',
      /merges.txt'.* it is a Git LFS pointer/,
    ],
  ])('are refused: %s', async (_what, files, given, message) => {
    const at = path.dirname(await put(files));
    expect((await failureOf('ERR_DATA', () => openTokenizer(path.join(at, given)))).message).toMatch(message);
  });
});

describe('requireRowsFor', () => {
  const one = new JsonTokenizer(json(['[PAD]', '<x>']));

  it('takes a model with as many rows, or more', () => {
    for (const rows of [FIRST + 2, FIRST + 50]) expect(() => requireRowsFor(one, rows)).not.toThrow();
  });

  it('names the tokens that a model lacks', async () => {
    const { message, details } = await failureOf('ERR_CONFIG', () => requireRowsFor(one, FIRST, "'swe'"));
    expect(message).toMatch(/^'swe': .*lacks "\[PAD\]" \(\d+\), "<x>" \(\d+\)\..*resize_token_embeddings/);
    expect(details).toEqual({ path: 'vocabSize', vocabSize: FIRST, tokens: FIRST + 2 });
    const most = await failureOf('ERR_CONFIG', () => requireRowsFor(one, 5));
    expect(most.message).toMatch(/ and \d+ more\. /);
  });
});
