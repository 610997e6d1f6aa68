import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { Sampler } from '../../../lib/sampling/sampler';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

const VOCABULARY = 5;

/** Five tokens, so that all sequences can be listed. */
const letters = {
  ...new ByteTokenizer(),
  name: 'letters',
  vocabSize: VOCABULARY,
  encode: (text: string) => Int32Array.from(text, (c) => c.charCodeAt(0) - 97),
  decode: (ids: ArrayLike<number>) => Array.from(ids, (id) => String.fromCharCode(97 + id)).join(''),
  decoder: () => ({ push: (id: number) => String.fromCharCode(97 + id), end: () => '' }),
};

const sampler = async (): Promise<Sampler> =>
  new Sampler(await tinyModel({ vocabSize: VOCABULARY }), letters);

interface Sequence {
  readonly tokens: readonly number[];
  readonly score: number;
}

/** All sequences of at most `length` new tokens, by score; `eos` ends one. */
async function all(
  one: Sampler,
  prompt: readonly number[],
  length: number,
  lengthPenalty: number,
  eos = -1,
): Promise<Sequence[]> {
  const ended: Sequence[] = [];
  let open: { tokens: number[]; logprob: number }[] = [{ tokens: [], logprob: 0 }];
  for (let step = 1; step <= length; step++) {
    const rows = open.map(({ tokens }) => [...prompt, ...tokens]);
    const { data } = await one.model.logProbs(rows);
    const width = rows[0]!.length * VOCABULARY;
    open = open.flatMap(({ tokens, logprob }, row) =>
      Array.from({ length: VOCABULARY }, (_, id) => ({
        tokens: [...tokens, id],
        logprob: logprob + data[(row + 1) * width - VOCABULARY + id]!,
      })),
    );
    const isEnd = ({ tokens }: { tokens: number[] }): boolean => step === length || tokens.at(-1) === eos;
    for (const { tokens, logprob } of open.filter(isEnd))
      ended.push({ tokens, score: logprob / step ** lengthPenalty });
    open = open.filter((sequence) => !isEnd(sequence));
  }
  return ended.sort((a, b) => b.score - a.score);
}

describe('beam search', () => {
  it('with a beam for every sequence finds the likeliest', async () => {
    const one = await sampler();
    for (const [prompt, ids] of [
      ['a', [0]],
      ['cbd', [2, 1, 3]],
    ] as const) {
      const expected = await all(one, ids, 3, 1);
      const made = await one.generate([prompt], { numBeams: 25, maxNewTokens: 3, numReturnSequences: 5 });
      expect(made.map(({ tokens }) => [...tokens])).toEqual(expected.slice(0, 5).map(({ tokens }) => tokens));
      expect(made[0]!.text).toBe(letters.decode(expected[0]!.tokens));
      expect(made[0]!.finishReason).toBe('length');
    }
  });

  it('ranks sequences that end by lengthPenalty', async () => {
    const one = await sampler();
    for (const lengthPenalty of [-2, 0, 1, 3]) {
      const expected = await all(one, [1, 2], 3, lengthPenalty, 4);
      const options = {
        numBeams: 25,
        maxNewTokens: 3,
        lengthPenalty,
        eosTokenId: 4,
        earlyStopping: 'never',
      } as const;
      const { tokens, finishReason, text } = await one.generate('bc', options);
      expect([...tokens]).toEqual(expected[0]!.tokens);
      expect(finishReason).toBe(tokens.at(-1) === 4 ? 'eos' : 'length');
      expect(text).toBe(letters.decode([...tokens].filter((id, i) => id !== 4 || i + 1 < tokens.length)));
    }
  });

  it('with few beams does not fall behind greedy, and is the same beside other prompts', async () => {
    const one = await sampler();
    // Leaves memory of another size behind.
    await one.generate(['a', 'b'], { maxNewTokens: 2 });
    const score = async (prompt: string, tokens: Int32Array): Promise<number> => {
      const ids = [...letters.encode(prompt), ...tokens];
      const { data } = await one.model.logProbs([ids]);
      return tokens.reduce((sum, id, i) => sum + data[(prompt.length - 1 + i) * VOCABULARY + id]!, 0);
    };
    const prompts = ['a', 'be', 'ddd'];
    const options = { numBeams: 3, maxNewTokens: 8 };
    const together = await one.generate(prompts, options);
    for (const [i, prompt] of prompts.entries()) {
      const alone = await one.generate(prompt, options);
      expect(alone).toEqual(together[i]);
      const greedy = await one.generate(prompt, { temperature: 0, maxNewTokens: 8 });
      expect(await score(prompt, alone.tokens)).toBeGreaterThanOrEqual(
        (await score(prompt, greedy.tokens)) - 1e-4,
      );
    }
  });

  it('gives the texts that drawing gives for the same tokens', async () => {
    const { model } = await sampler();
    const ids = new Sampler(model);
    const { tokens, text } = await ids.generate('3 4', { numBeams: 3, maxNewTokens: 4 });
    expect(text).toBe([...tokens].map((id) => ` ${id}`).join(''));
  });

  it('returns what there is when it is aborted', async () => {
    const one = await sampler();
    const beams = { numBeams: 3, numReturnSequences: 2, maxNewTokens: 8 } as const;
    const early = await one.generate(['a', 'b'], { ...beams, signal: AbortSignal.abort() });
    expect(early).toEqual(Array(4).fill({ text: '', tokens: new Int32Array(), finishReason: 'abort' }));
    // Aborted while it runs: noticed after this many checks.
    let asked = 0;
    const { signal } = new AbortController();
    Object.defineProperty(signal, 'aborted', { get: () => ++asked > 3 });
    for (const { tokens, text, finishReason } of await one.generate(['a'], { ...beams, signal })) {
      expect(finishReason).toBe('abort');
      expect(tokens).toHaveLength(3);
      expect(text).toBe(letters.decode(tokens));
    }
  });

  it('stops early on request', async () => {
    const one = await sampler();
    const options = { numBeams: 2, maxNewTokens: 12, eosTokenId: [3, 4], earlyStopping: true } as const;
    const made = await one.generate(['a'], { ...options, numReturnSequences: 2 });
    expect(made).toHaveLength(2);
    expect(made.every(({ finishReason }) => finishReason === 'eos' || finishReason === 'length')).toBe(true);
  });

  it('is refused as a stream, with more sequences than beams, and beyond the context', async () => {
    const one = await sampler();
    await failureOf('ERR_CONFIG', () => one.stream('a', { numBeams: 2 }).next());
    await failureOf('ERR_CONFIG', () => one.generate(['a'], { numBeams: 2, numReturnSequences: 3 }));
    const { message } = await failureOf('ERR_CONFIG', () => one.generate('a', { numBeams: 2 }));
    expect(message).toMatch(/maxNewTokens 256.*nPositions/);
  });
});
