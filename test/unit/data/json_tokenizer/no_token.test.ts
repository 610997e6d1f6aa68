import { JsonTokenizer } from '../../../../lib/data/json_tokenizer';
import { failureOf } from '../../support/errors';

const WORDS = { pre_tokenizer: { type: 'WhitespaceSplit' } };
const made = (model: object, parts: object = WORDS): JsonTokenizer =>
  new JsonTokenizer(JSON.stringify({ ...parts, model }));

const vocab = { a: 0, b: 1, ab: 2 };
const MODELS = {
  BPE: { type: 'BPE', vocab, merges: ['a b'] },
  'BPE with an unknown token that it lacks': { type: 'BPE', vocab, merges: ['a b'], unk_token: '<unk>' },
  'BPE that falls back to bytes that it lacks': { type: 'BPE', vocab, merges: [], byte_fallback: true },
  Unigram: { type: 'Unigram', vocab: Object.keys(vocab).map((token) => [token, -1]) },
  WordPiece: { type: 'WordPiece', vocab: { ...vocab, '##b': 3 }, max_input_chars_per_word: 9 },
  WordLevel: { type: 'WordLevel', vocab, unk_token: '[UNK]' },
};

describe.each(Object.entries(MODELS))('%s', (name, model) => {
  const tokenizer = made(model);

  it('has tokens for what its vocabulary holds', async () => {
    expect(tokenizer.decode(await tokenizer.encode('ab a b'))).toMatch(/^a ?b a b$|^aabab$|^abab$/);
  });

  it('says which character has no token, and where', async () => {
    const { message, details } = await failureOf('ERR_DATA', () => tokenizer.encode('ab a\nb \u{1F600}a b7'));
    const word = /WordPiece|WordLevel/.test(name) ? '\u{1F600}a' : '\u{1F600}';
    expect(message).toContain(`line 2, column 3, has "${word}"`);
    expect(details).toMatchObject({ offset: 7, line: 2, column: 3 });
  });
});

it('finds it behind cuts too', async () => {
  const text = `${'ab a b\n'.repeat(30_000)}a?`;
  const { details } = await failureOf('ERR_DATA', () => made(MODELS.BPE).encode(text));
  expect(details).toMatchObject({ offset: text.length - 1, line: 30_001, column: 2 });
});

it('uses the unknown token for it if there is one', async () => {
  const tokenizer = made({ type: 'WordLevel', vocab: { '[UNK]': 0, NOTE_ON: 1 }, unk_token: '[UNK]' });
  expect([...(await tokenizer.encode('NOTE_ON x NOTE_ON'))]).toEqual([1, 0, 1]);
  expect(tokenizer.decode([1, 0])).toBe('NOTE_ON [UNK]');
});
