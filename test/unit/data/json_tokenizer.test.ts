import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { openTokenizer, tokenizerNamed } from '../../../lib/data/tokenizers';
import { failureOf } from '../support/errors';
import { tinyTokenizer } from '../support/tokenizer';

const made = (change: (json: ReturnType<typeof tinyTokenizer>) => void = () => undefined): JsonTokenizer => {
  const json = tinyTokenizer();
  change(json);
  return new JsonTokenizer(JSON.stringify(json));
};

const tokenizer = made();
const END = tokenizer.endOfTextToken as number;

const streamed = ({ decoder }: { decoder: JsonTokenizer['decoder'] }, ids: Iterable<number>): string[] => {
  const stream = decoder.call(tokenizer);
  return [...Array.from(ids, (id) => stream.push(id)), stream.end()];
};

describe('JsonTokenizer of byte-level BPE', () => {
  it('merges what its file says, and decodes it again', async () => {
    const { vocab } = tinyTokenizer().model;
    const ids = [...(await tokenizer.encode(' the cat'))];
    expect(ids).toEqual(['Ġthe', 'Ġ', 'c', 'at'].map((token) => vocab[token]));
    expect(tokenizer.decode(ids)).toBe(' the cat');
    expect(tokenizer).toMatchObject({ name: 'tokenizer.json', vocabSize: END + 1, startToken: END });
  });

  it('gives every text back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), async (text) => {
        expect(tokenizer.decode(await tokenizer.encode(text))).toBe(text);
      }),
      { seed: 1, numRuns: 300 },
    );
    for (const text of ['', '  two  spaces . \n\n', 'naïve — 漢字 😀', '\uFEFFmark'])
      expect(tokenizer.decode(await tokenizer.encode(text))).toBe(text);
  });

  it('recognizes special tokens in a text', async () => {
    expect([...(await tokenizer.encode('a<|endoftext|>'))].at(-1)).toBe(END);
    expect(tokenizer.decode([END])).toBe('<|endoftext|>');
  });

  it('streams whole characters only', async () => {
    const pieces = streamed(tokenizer, await tokenizer.encode('a😀b'));
    expect(pieces).toEqual(['a', '', '', '', '😀', 'b', '']);
    expect(streamed(tokenizer, (await tokenizer.encode('😀')).subarray(0, 2)).join('')).toBe('\uFFFD');
  });

  it.each([END + 1, -1, 1.5, NaN])('refuses the id %p', async (id) => {
    expect((await failureOf('ERR_DATA', () => tokenizer.decode([id]))).message).toContain(String(id));
    expect(() => tokenizer.decoder().push(id)).toThrow('vocabulary');
  });

  it('is quick on a megabyte of one letter', async () => {
    // Merging pair by pair from the left would take 2^40 steps.
    const started = performance.now();
    const text = 'l'.repeat(2 ** 20);
    expect(await tokenizer.encode(text)).toHaveLength(2 ** 19);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

describe('JsonTokenizer of text', () => {
  const unigram = (): JsonTokenizer =>
    new JsonTokenizer(
      JSON.stringify({
        added_tokens: [{ id: 0, content: '</s>', special: true }],
        pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
        decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
        model: {
          type: 'Unigram',
          unk_id: 1,
          vocab: ['</s>', '<unk>', '▁', 'a', 'b', '▁ab', 'é'].map((token, i) => [token, -i]),
        },
      }),
    );

  it('streams the same text as decode', async () => {
    const one = unigram();
    const ids = await one.encode('ab ab é ba');
    const stream = one.decoder();
    const pieces = [...Array.from(ids, (id) => stream.push(id)), stream.end()];
    expect(pieces.join('')).toBe(one.decode(ids));
    expect(one.decode(ids)).toBe('ab ab é ba');
    expect(one).toMatchObject({ endOfTextToken: 0, vocabSize: 7 });
  });

  it('streams the bytes of a character as one, and bytes of none as U+FFFD', async () => {
    const bytes = Array.from(
      { length: 256 },
      (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    );
    const vocab = Object.fromEntries([...bytes, 'x', '<unk>'].map((token, id) => [token, id]));
    const one = new JsonTokenizer(
      JSON.stringify({
        decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
        model: { type: 'BPE', byte_fallback: true, unk_token: '<unk>', vocab, merges: [] },
      }),
    );
    const stream = one.decoder();
    expect([...(await one.encode('x😀'))].map((id) => stream.push(id))).toEqual(['x', '', '', '', '😀']);
    expect(
      new Array(20)
        .fill(255)
        .map((id) => stream.push(id as number))
        .join(''),
    ).toMatch(/^\uFFFD+$/);
  });
});

describe('JsonTokenizer refuses', () => {
  type Json = ReturnType<typeof tinyTokenizer>;
  const model = (more: object) => (json: Json) => void Object.assign(json.model, more);

  it.each<[string, (json: Json) => void, RegExp]>([
    ['no model', (json) => void delete (json as { model?: unknown }).model, /model/],
    ['an unknown model', model({ type: 'Magic' }), /model\.type/],
    [
      'a vocabulary of nothing',
      (json) => {
        json.added_tokens = [];
        Object.assign(json.model, { vocab: {}, merges: [] });
      },
      /vocabulary is empty/,
    ],
    ['a vocabulary that is text', model({ vocab: 'abc' }), /neither an object nor an array/],
    ['an id of 2^31', (json) => void (json.model.vocab['zz'] = 2 ** 31), /"zz" has the id 2147483648/],
    ['an id below 0', (json) => void (json.model.vocab['zz'] = -1), /"zz" has the id -1/],
    ['an id that is text', model({ vocab: { a: '1' } }), /"a" has the id "1"/],
    [
      'two tokens of one id',
      (json) => void (json.model.vocab['zz'] = 5),
      /the id 5 belongs to two tokens, "&" and "zz"/,
    ],
    [
      'an added token of two ids',
      (json) => void json.added_tokens.push({ id: 900, content: '<|endoftext|>' }),
      /has two ids/,
    ],
    [
      'an added token without id',
      (json) => void json.added_tokens.push({ content: 'x' } as never),
      /added_tokens/,
    ],
    [
      'a merge of an unknown token',
      (json) => void json.model.merges.push('zz a'),
      /merges\[13\] has the token "zz"/,
    ],
    ['a merge to an unknown token', (json) => void json.model.merges.push('z q'), /has the token "zq"/],
    ['a merge of one', (json) => void json.model.merges.push('a'), /is not a pair/],
    ['merges that are none', model({ merges: 'a b' }), /model\.merges is not an array/],
    ['an unknown pre-tokenizer', (json) => void (json['pre_tokenizer'] = { type: 'Magic' }), /Magic/],
    ['an unknown decoder', (json) => void (json['decoder'] = { type: 'Magic' }), /Magic/],
    [
      'a pattern that is none',
      (json) =>
        void (json['pre_tokenizer'] = { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' }),
      /can't be used as a tokenizer/,
    ],
    [
      'pieces of length 0',
      (json) =>
        void (json['pre_tokenizer'] = {
          type: 'Sequence',
          pretokenizers: [{ type: 'FixedLength', length: 0 }],
        }),
      /pretokenizers\[0\]\.length/,
    ],
  ])('%s', async (_what, change, message) => {
    expect((await failureOf('ERR_DATA', () => made(change))).message).toMatch(message);
  });

  it.each(['', '{', '[]', 'null', '{"model": {"type": "BPE", "vocab": {"a": 0}}}', `${'['.repeat(50_000)}`])(
    'the text %.20j',
    async (json) => {
      await failureOf('ERR_DATA', () => new JsonTokenizer(json));
    },
  );

  it('any change of a value, with an error that has a code, or works', async () => {
    const json = tinyTokenizer();
    const paths = [
      'added_tokens',
      'normalizer',
      'pre_tokenizer',
      'post_processor',
      'decoder',
      'model',
    ] as const;
    const deep = fc.anything({ maxDepth: 3, withNullPrototype: false });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...paths),
        fc.constantFrom('', 'type', 'vocab', 'merges'),
        deep,
        async (at, key, value) => {
          const inner: unknown = json[at];
          const changed =
            key === '' || typeof inner !== 'object' || inner === null ? value : { ...inner, [key]: value };
          try {
            const one = new JsonTokenizer(JSON.stringify({ ...json, [at]: changed }));
            for (const id of await one.encode('the fox')) expect(id).toBeLessThan(one.vocabSize);
          } catch (error) {
            expect(error).toMatchObject({ code: 'ERR_DATA' });
          }
        },
      ),
      { seed: 2, numRuns: 500 },
    );
  });
});

describe('tokenizers by name', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tokenizer-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('finds those that checkpoints name', async () => {
    const file = path.join(folder, 'tokenizer.json');
    await writeFile(file, JSON.stringify(tinyTokenizer()));
    expect((await tokenizerNamed('byte', file))?.vocabSize).toBe(256);
    expect((await tokenizerNamed('tokenizer.json', file))?.vocabSize).toBe(END + 1);
    expect(await tokenizerNamed('bpe', file)).toBeUndefined();
    expect((await openTokenizer(file)).name).toBe('tokenizer.json');
    const none = path.join(folder, 'none.json');
    expect((await failureOf('ERR_DATA', () => openTokenizer(none))).message).toContain(
      'the file does not exist',
    );
    expect((await openTokenizer(folder)).vocabSize).toBe(END + 1);
  });
});
