import { JsonTokenizer } from '../../../../lib/data/json_tokenizer';
import { charsmapRefusal } from '../../../../lib/data/json_tokenizer/charsmap';
import { isLinear, refusalOf } from '../../../../lib/data/json_tokenizer/pattern';
import { failureOf } from '../../support/errors';

// Each of these makes the library end the process or hang.
const MODEL = { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] };
const made = (parts: object): JsonTokenizer => new JsonTokenizer(JSON.stringify({ model: MODEL, ...parts }));
const split = (Regex: string) => ({
  pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated' },
});
const replace = (from: string, content: string) => ({ type: 'Replace', pattern: { String: from }, content });
const nested = (list: string, depth: number): object =>
  depth === 0 ? { type: 'Fuse' } : { type: 'Sequence', [list]: [nested(list, depth - 1)] };
const charsmap = (units: readonly number[], texts: string): string => {
  const table = Buffer.alloc(4 + 4 * units.length);
  table.writeUInt32LE(4 * units.length);
  units.forEach((unit, i) => table.writeUInt32LE(unit, 4 + 4 * i));
  return Buffer.concat([table, Buffer.from(texts)]).toString('base64');
};

it.each<[string, object, RegExp]>([
  ['a pattern that steps back for ever', split('(a+)+$'), /repeats a part that can match in several ways/],
  [
    'one in a normalizer',
    { normalizer: { type: 'Replace', pattern: { Regex: '(a|a)*b' }, content: '' } },
    /Replace|pattern/,
  ],
  [
    'one in a decoder',
    { decoder: { type: 'Replace', pattern: { Regex: 'a*a*b' }, content: '' } },
    /backtrack together/,
  ],
  [
    'texts that double forty times',
    { normalizer: { type: 'Sequence', normalizers: new Array(40).fill(replace('a', 'aa')) } },
    /normalizer makes a text more than 64 times as long/,
  ],
  [
    'decoded texts that double forty times',
    { decoder: { type: 'Sequence', decoders: new Array(40).fill(replace('a', 'aa')) } },
    /decoder makes a text more than 64 times as long/,
  ],
  [
    'letters of bytes of letters of bytes',
    { pre_tokenizer: { type: 'Sequence', pretokenizers: new Array(9).fill({ type: 'ByteLevel' }) } },
    /letters of bytes/,
  ],
  ['a replacement of nothing', { normalizer: replace('', 'a') }, /pattern/],
  ['deep sequences', { decoder: nested('decoders', 20) }, /nested deeper than 8/],
  [
    'many parts',
    { decoder: { type: 'Sequence', decoders: new Array(100).fill({ type: 'Fuse' }) } },
    /more than 64 parts/,
  ],
  ['cuts at both ends', { decoder: { type: 'Strip', content: ' ', start: 1, stop: 1 } }, /decoder\.stop/],
  [
    'words of any length',
    { model: { ...MODEL, type: 'WordPiece', max_input_chars_per_word: 2 ** 30 } },
    /max_input_chars/,
  ],
  [
    'a merge outside its prefix',
    { model: { ...MODEL, continuing_subword_prefix: '##' } },
    /does not continue with the prefix/,
  ],
  [
    'a map that points beyond its table',
    { normalizer: { type: 'Precompiled', precompiled_charsmap: charsmap([1 << 20], '') } },
    /points beyond/,
  ],
  [
    'an unknown token beyond the vocabulary',
    { model: { type: 'Unigram', vocab: [['a', -1]], unk_id: 1.5 } },
    /unk_id/,
  ],
  [
    'a score that is none',
    { model: { type: 'Unigram', vocab: [['a', null]] } },
    /pair of a token and its score/,
  ],
  [
    'a token that comes twice',
    {
      model: {
        type: 'Unigram',
        vocab: [
          ['a', -1],
          ['a', -2],
        ],
      },
    },
    /two ids/,
  ],
  [
    'a replacement of an empty match',
    { normalizer: { type: 'Replace', pattern: { Regex: '\\b' }, content: 'a' } },
    /empty text/,
  ],
  ['nothing put before a text', { normalizer: { type: 'Prepend', prepend: '' } }, /prepend/],
  [
    'an added token that its normalizer removes',
    { normalizer: replace('x', ''), added_tokens: [{ id: 3, content: 'xx', normalized: true }] },
    /leaves nothing of the added token "xx"/,
  ],
  ['another version', { version: '2.0' }, /version/],
])('refuses %s', async (_what, parts, message) => {
  expect((await failureOf('ERR_DATA', () => made(parts))).message).toMatch(message);
});

it('refuses 20,000 nested pre-tokenizers', async () => {
  const deep = `${'{"type":"Sequence","pretokenizers":['.repeat(20_000)}${']}'.repeat(20_000)}`;
  const json = JSON.stringify({ model: MODEL, pre_tokenizer: 0 }).replace(':0}', `:${deep}}`);
  expect((await failureOf('ERR_DATA', () => new JsonTokenizer(json))).message).toContain('nested deeper');
});

it('leaves out dropout, truncation and padding', async () => {
  const tokenizer = made({
    model: { ...MODEL, dropout: 1 },
    truncation: { direction: 'Right', max_length: 1, strategy: 'LongestFirst', stride: 0 },
    padding: 'anything',
  });
  expect([...(await tokenizer.encode('abab'))]).toEqual([2, 2]);
});

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const CAPITALS = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const SMALL = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
const GPT4O = `[^\\r\\n\\p{L}\\p{N}]?${CAPITALS}*${SMALL}+${ENDINGS}|[^\\r\\n\\p{L}\\p{N}]?${CAPITALS}+${SMALL}*${ENDINGS}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const DEEPSEEK =
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+';

describe('patterns', () => {
  it.each([
    GPT2,
    LLAMA3,
    GPT4O,
    DEEPSEEK,
    '[一-龥぀-ゟ゠-ヿ]+',
    ' ?[^(\\s|[.,!?…。，、।۔،])]+',
    '[0-9][0-9][0-9]',
    ' {2,}',
    '(?:\\r\\n|\\n)+',
    '(?>\\s+)a',
  ])('takes %j, which searches in linear time', (pattern) => {
    expect([refusalOf(pattern), isLinear(pattern)]).toEqual([undefined, true]);
  });

  it.each(['(\\[[^\\]]+]|Br?|Cl?)', '(?=(\\d{3})+(?!\\d))', '\\s*\\n', '(?:ab|b)*c'])(
    'takes %j, but not for long words',
    (pattern) => {
      expect([refusalOf(pattern), isLinear(pattern)]).toEqual([undefined, false]);
    },
  );

  it.each([
    ...['(a+)+', '(a|aa)+', '(a*)*', '(x+x+)+y', '(.*a){2}', '(?:a?){30}', '(?:\\-|-)*b', '(?i:a|A)*b'],
    ...[
      'a*a*b',
      '\\s*\\s*\\n',
      'a?a?a?a?a?a?a?b',
      '\\d+(?=(\\d{3})+(?!\\d))',
      '((a{200}){200}){200}',
      'a{9999}',
    ],
    ...[
      '\\1(a)',
      '(?<n>a)\\g<n>',
      '(?x)a',
      '[]a+)+]',
      '(a',
      'a)',
      '[a',
      '*',
      'a{',
      'a**',
      '\\',
      '\\K',
      '('.repeat(99),
    ],
    'a'.repeat(5000),
  ])('refuses %j', (pattern) => {
    expect(refusalOf(pattern)).toEqual(expect.any(String));
  });
});

describe('normalization maps', () => {
  // The root, whose children are in the block from 256 on; of the letter a, whose text is at the start of the block from 512.
  const units = new Array<number>(768).fill(0);
  units[0] = 256 << 10;
  units[256 ^ 97] = ((256 ^ 97 ^ 512) << 10) | 0x100 | 97;
  units[512] = 0x80000000;

  it('takes one that stays within its bounds', () => {
    expect(charsmapRefusal(charsmap(units, 'b\0'))).toBeUndefined();
  });

  it.each<[string, string]>([
    ['cut off', charsmap(units, 'b\0').slice(0, 400)],
    ['not base64', '?'],
    ['without a table', ''],
    ['whose node has no children', charsmap(units.slice(0, 600), 'b\0')],
    ['whose text begins inside a character', charsmap(units.with(512, 0x80000001), 'é\0')],
    ['whose text is beyond the end', charsmap(units.with(512, 0x80000009), 'b\0')],
    ['whose texts are bombs', charsmap(units, 'b'.repeat(1000))],
  ])('refuses one %s', (_what, map) => {
    expect(charsmapRefusal(map)).toEqual(expect.any(String));
  });
});
