import fc from 'fast-check';
import { JsonTokenizer } from '../../lib/data/json_tokenizer';
import { TesseraeError } from '../../lib/errors';

function onlyCoded(error: unknown): void {
  if (!(error instanceof TesseraeError) || error.code !== 'ERR_DATA') throw error;
}

// The library ends the process where it is surprised, so a failure here is no test result at all: run it alone to see the case.

const option = fc.boolean();
const text = fc.constantFrom('', 'a', 'x', 'é', '▁', '$1', 'ab');
const pattern = fc.oneof(
  fc.record({ String: text }),
  fc.record({
    Regex: fc.constantFrom(
      '\\s+',
      '[a-z]+',
      '\\p{N}{1,3}',
      '(?=(\\d{3})+(?!\\d))',
      '^a',
      '$',
      '(?<=a)b',
      'a?',
      '',
      '\\b',
      '.',
      '(a+)+',
    ),
  }),
);
const behavior = fc.constantFrom('Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous');
const plain = (...types: string[]) => fc.constantFrom(...types.map((type) => ({ type })));
const replace = fc.record({ type: fc.constant('Replace'), pattern, content: text });
const byteLevel = fc.record({ type: fc.constant('ByteLevel'), add_prefix_space: option, use_regex: option });
const scheme = fc.constantFrom('first', 'never', 'always');
const metaspace = fc.record({ type: fc.constant('Metaspace'), prepend_scheme: scheme, split: option });
const some = (list: string, part: fc.Arbitrary<object>) =>
  fc.oneof(
    fc.constant(null),
    part,
    fc.record({ type: fc.constant('Sequence'), [list]: fc.array(part, { maxLength: 3 }) }),
  );

const normalizer = some(
  'normalizers',
  fc.oneof(
    plain('NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents', 'Nmt', 'BertNormalizer', 'ByteLevel'),
    replace,
    fc.record({ type: fc.constant('Prepend'), prepend: text }),
    fc.record({ type: fc.constant('Strip'), strip_left: option, strip_right: option }),
  ),
);
const preTokenizer = some(
  'pretokenizers',
  fc.oneof(
    plain('Whitespace', 'WhitespaceSplit', 'BertPreTokenizer', 'UnicodeScripts', 'Digits', 'Punctuation'),
    ...[byteLevel, metaspace],
    fc.record({ type: fc.constant('CharDelimiterSplit'), delimiter: fc.constantFrom('a', 'é', ' ') }),
    fc.record({ type: fc.constant('FixedLength'), length: fc.constantFrom(0, 1, 3) }),
    fc.record({ type: fc.constant('Split'), pattern, behavior, invert: option }),
  ),
);
const decoder = some(
  'decoders',
  fc.oneof(
    plain('Fuse', 'ByteFallback', 'CTC', 'WordPiece', 'BPEDecoder'),
    ...[byteLevel, metaspace, replace],
    fc.record({
      type: fc.constant('Strip'),
      content: fc.constantFrom(' ', 'é'),
      start: fc.nat(3),
      stop: fc.nat(1),
    }),
  ),
);

const TOKENS = [
  'a',
  'b',
  'ab',
  'é',
  '▁',
  '▁a',
  '##b',
  'Ġ',
  'Ã',
  '©',
  '1',
  '12',
  'b</w>',
  '<0xE2>',
  'x',
  ' ',
  '',
  '漢',
  '[UNK]',
];
const model = fc
  .record({
    tokens: fc.subarray(TOKENS, { minLength: 1 }),
    type: fc.constantFrom('BPE', 'WordPiece', 'WordLevel', 'Unigram'),
    unknown: fc.constantFrom(null, '[UNK]', 'a'),
    prefix: fc.constantFrom(undefined, '', '##', 'é'),
    flags: fc.record({ byte_fallback: option, fuse_unk: option, ignore_merges: option }),
  })
  .map(({ tokens, type, unknown, prefix, flags }) => ({
    ...{
      type,
      ...flags,
      unk_token: unknown,
      unk_id: unknown === null ? null : 0,
      continuing_subword_prefix: prefix,
    },
    vocab:
      type === 'Unigram'
        ? tokens.map((token, i) => [token, 1 - i])
        : Object.fromEntries(tokens.map((token, i) => [token, i])),
    merges: tokens.flatMap((a) => tokens.filter((b) => tokens.includes(a + b)).map((b) => [a, b])),
  }));
const added = fc.subarray(['<|e|>', 'ab', 'É', ' x ', '7']).chain((contents) =>
  fc.tuple(
    ...contents.map((content, i) =>
      fc.record({
        ...{ id: fc.constant(100 + i), content: fc.constant(content) },
        ...{ special: option, lstrip: option, rstrip: option, single_word: option, normalized: option },
      }),
    ),
  ),
);

const TEXTS = [
  '',
  'ab ab é漢 12 1234567 <|e|> x',
  '  \u0085\ufeff a\0b\r\n\n',
  '\ud800a\udc00',
  'e\u0301 ﷺ É É 7',
  '[[ab##b',
  ' '.repeat(99),
];

test('no tokenizer.json of known parts does more than fail with a code', async () => {
  const file = fc.record({ added_tokens: added, normalizer, pre_tokenizer: preTokenizer, decoder, model });
  await fc.assert(
    fc.asyncProperty(file, async (contents) => {
      try {
        const tokenizer = new JsonTokenizer(JSON.stringify(contents));
        for (const one of TEXTS) {
          const ids = await tokenizer.encode(one).catch((error: unknown) => void onlyCoded(error));
          for (const id of ids ?? []) expect(id >= 0 && id < tokenizer.vocabSize).toBe(true);
          if (ids) tokenizer.decode(ids);
        }
        tokenizer.decode(Array.from({ length: tokenizer.vocabSize }, (_, id) => id));
      } catch (error) {
        onlyCoded(error);
      }
    }),
    { seed: 7, numRuns: 2000 },
  );
});
