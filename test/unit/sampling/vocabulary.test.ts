import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import type { Tokenizer } from '../../../lib/data/tokenizer';
import type { GenerateOptions, MaskedSequence } from '../../../lib/sampling/options';
import { Sampler } from '../../../lib/sampling/sampler';
import { failureOf } from '../support/errors';
import { disposeModels, preferringModel, tinyModel } from '../support/tiny_model';
import { gappedTokenizer, type Ids } from '../support/tokenizer';

afterEach(disposeModels);

const ROWS = 40;

/** A tokenizer of numbers; the model may have more rows. */
const numbers = (vocabSize: number, more: Partial<Tokenizer> = {}): Tokenizer => ({
  name: 'numbers',
  vocabSize,
  encode: (text: string) => Int32Array.from(text.split(' ').filter(Boolean), Number),
  decode: (ids: ArrayLike<number>) => Array.from(ids).join(' '),
  decoder: () => ({ push: (id: number) => ` ${id}`, end: () => '' }),
  ...more,
});

const KINDS: readonly (readonly [kind: string, ids: Ids, tokenizer: Tokenizer])[] = [
  ['after the last token', [33, 39], numbers(33)],
  ['in a gap of a tokenizer.json', [10, 34], gappedTokenizer(ROWS, [10, 34])],
  ['that a tokenizer says no to', [10, 34], numbers(ROWS, { hasToken: (id) => id < 10 || id > 34 })],
];

describe.each(KINDS)('ids without a token, %s,', (_kind, ids, tokenizer) => {
  const [first, last] = ids;
  const isToken = (id: number): boolean => id < first || id > last;
  const all = (batch: readonly MaskedSequence[]): Uint32Array =>
    new Uint32Array(2 * batch.length).fill(0xffffffff);
  const ways: readonly (readonly [string, GenerateOptions])[] = [
    ['greedy', { temperature: 0 }],
    ['drawn', {}],
    ['hot', { temperature: 1e6 }],
    ['cold', { temperature: 2 ** -126 }],
    ['filtered', { topK: 3, topP: 0.9, minP: 0.01 }],
    ['masked', { tokenMask: all }],
    ['allowed', { allowedTokens: new Map([[3, [1, first]], [30, [2, last]]]) }], // prettier-ignore
    ['biased', { logitBias: new Map([[first, 100]]) }],
    ['penalized', { repetitionPenalty: 1.5, noRepeatNgramSize: 2 }],
    ['beams', { numBeams: 4, maxNewTokens: 10 }],
    ['biased beams', { numBeams: 4, maxNewTokens: 10, logitBias: new Map([[first, 100]]) }],
    ['masked beams', { numBeams: 4, maxNewTokens: 10, tokenMask: all }],
  ];

  it.each(ways)('are never chosen (%s), beyond the context too', async (_, options) => {
    const model = await preferringModel(ROWS, ids);
    const one = new Sampler(model, tokenizer);
    const { tokens } = await one.generate('1 2', { maxNewTokens: 40, seed: 1, ...options });
    expect(tokens.length).toBe(options.maxNewTokens ?? 40);
    expect([...tokens].filter((id) => !isToken(id))).toEqual([]);
    const whole = new Sampler(model, numbers(ROWS));
    const { tokens: free } = await whole.generate('1 2', { maxNewTokens: 8, temperature: 0 });
    expect([...free].filter(isToken)).toEqual([]);
  });

  it('are never streamed', async () => {
    const one = new Sampler(await preferringModel(ROWS, ids), tokenizer);
    const tokens: number[] = [];
    for await (const { token } of one.stream('1 2', { maxNewTokens: 40 })) tokens.push(token);
    expect(tokens).toHaveLength(40);
    expect(tokens.every(isToken)).toBe(true);
  });

  it('have no part in log-probabilities', async () => {
    const model = await preferringModel(ROWS, ids);
    const options = { maxNewTokens: 4, seed: 1, logprobs: 20, suppressTokens: [0, 1] };
    const made = await new Sampler(model, tokenizer).generate('1 2', options);
    const { data } = await model.logits([[1, 2, ...made.tokens]]);
    made.tokens.forEach((token, i) => {
      const row = Array.from(data.subarray((1 + i) * ROWS, (2 + i) * ROWS), (logit, id) =>
        isToken(id) ? logit : -Infinity,
      );
      const total = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      // Sums of at most 33 fp32 terms.
      expect(made.logprobs?.[i]).toBeCloseTo(row[token]! - total, 4);
      const likeliest = made.topLogprobs![i]!;
      expect(likeliest).toHaveLength(Math.min(20, row.filter(Number.isFinite).length));
      expect(likeliest.every((one) => isToken(one.token))).toBe(true);
      // By the model alone: tokens that the options suppress are listed too.
      const best = row.indexOf(Math.max(...row));
      expect(likeliest[0]).toMatchObject({ token: best });
      expect(likeliest[0]!.logprob).toBeCloseTo(row[best]! - total, 4);
    });
  });

  it('are refused in a prompt, and make no set or mask', async () => {
    const one = new Sampler(await preferringModel(ROWS, ids), tokenizer);
    const prompt = await failureOf('ERR_DATA', () => one.generate([1, first]));
    const those = tokenizer.hasToken ? ' that have a token' : '';
    expect(prompt.message).toBe(
      `token 1 of the prompt is ${first}: ids are integers from 0 to ${tokenizer.vocabSize - 1}${those}`,
    );
    const refusals: [GenerateOptions, string][] = [
      [{ allowedTokens: new Map([[4, [first, last]]]) }, `${first}, ${last}`],
      [{ forcedTokens: new Map([[4, first]]) }, `${first}`],
    ];
    for (const [options, named] of refusals) {
      const { message } = await failureOf('ERR_CONFIG', () => one.generate('1', options));
      expect(message).toContain(`of position 4 allows no token: the tokenizer has none for ${named}`);
    }
    const tokenMask = (batch: readonly MaskedSequence[]): Uint32Array => {
      const words = new Uint32Array(2);
      for (let id = first; id <= last; id++) words[id >> 5]! |= 1 << (id % 32);
      return Uint32Array.from(batch.flatMap(() => [...words]));
    };
    const { message } = await failureOf('ERR_DATA', () => one.generate('1', { tokenMask }));
    expect(message).toMatch(/allows no token to row 0/);
  });
});

it('a model without rows for tokens is refused with their names', async () => {
  const model = await tinyModel({ vocabSize: 255 });
  const { message, details } = await failureOf('ERR_CONFIG', () => new Sampler(model, new ByteTokenizer()));
  expect(message).toMatch(/'byte' tokenizer has 256 tokens, .*vocabSize 255: the model lacks 255\./);
  expect(details).toMatchObject({ path: 'vocabSize' });
});

describe('the tokens of a configuration', () => {
  const ended = (one: Sampler, options: GenerateOptions = {}) =>
    one.generate([1, 2], { maxNewTokens: 8, seed: 1, forcedTokens: new Map([[3, 7], [5, 9]]), ...options }); // prettier-ignore

  it('end a text: those of the options, else of the model, else of the tokenizer', async () => {
    const tokenizer = numbers(ROWS, { endOfTextToken: 9 });
    const length = async (one: Sampler, options?: GenerateOptions): Promise<number> => {
      const { tokens, finishReason } = await ended(one, options);
      expect(finishReason).toBe(tokens.length === 8 ? 'length' : 'eos');
      return tokens.length;
    };
    const configured = await tinyModel({ vocabSize: ROWS, eosTokenId: 7 });
    expect(await length(new Sampler(configured))).toBe(2);
    expect(await length(new Sampler(configured, tokenizer))).toBe(2);
    expect(await length(new Sampler(configured, tokenizer), { eosTokenId: 9 })).toBe(4);
    expect(await length(new Sampler(configured, tokenizer), { eosTokenId: [] })).toBe(8);
    const silent = await tinyModel({ vocabSize: ROWS, eosTokenId: null });
    expect(await length(new Sampler(silent, tokenizer))).toBe(4);
    expect(await length(new Sampler(silent))).toBe(8);
    const beams = { numBeams: 2 };
    expect(await length(new Sampler(configured), beams)).toBe(2);
    expect((await new Sampler(configured).generate([1, 2], { ...beams, maxNewTokens: 3, minNewTokens: 3 })).tokens)
      .toHaveLength(3); // prettier-ignore
  });

  it('come from the generation_config.json of a checkpoint before its config.json', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'roles-'));
    try {
      await saveModel(
        await tinyModel({ vocabSize: ROWS, eosTokenId: 7, bosTokenId: 3 }),
        path.join(folder, 'm'),
      );
      const generation = { eos_token_id: [9, 11], bos_token_id: 5 };
      await writeFile(path.join(folder, 'm', 'generation_config.json'), JSON.stringify(generation));
      const { model } = await loadModel(path.join(folder, 'm'), { device: 'cpu', threads: 1 });
      using _model = model;
      const one = new Sampler(model);
      expect(await ended(one)).toMatchObject({ finishReason: 'eos', tokens: { length: 4 } });
      const options = { maxNewTokens: 6, temperature: 0 };
      expect((await one.generate('', options)).tokens).toEqual((await one.generate([5], options)).tokens);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('end no text if they have no token', async () => {
    const model = await tinyModel({ vocabSize: ROWS, eosTokenId: ROWS - 1, bosTokenId: ROWS - 1 });
    const one = new Sampler(model, numbers(33, { endOfTextToken: 7, startToken: 3 }));
    expect((await ended(one)).tokens).toHaveLength(2);
    const draw = async (prompt: string): Promise<number[]> => [
      ...(await one.generate(prompt, { maxNewTokens: 5, seed: 1 })).tokens,
    ];
    expect(await draw('')).toEqual(await draw('3'));
  });

  it('begin an empty prompt: what training began with, else bosTokenId, else the start token', async () => {
    const model = await tinyModel({ vocabSize: ROWS, bosTokenId: 5 });
    const silent = await tinyModel({ vocabSize: ROWS, bosTokenId: null });
    const tokenizer = numbers(ROWS, { startToken: 3 });
    const trainingStarts = {
      firstTokens: [{ token: 8, count: 1 }],
      promptTokens: { least: 1, most: 1 },
    };
    const begun = async (one: Sampler, first: number): Promise<void> => {
      const options = { maxNewTokens: 6, temperature: 0 };
      const [a, b] = [await one.generate('', options), await one.generate([first], options)];
      expect(a.tokens).toEqual(b.tokens);
      expect(await one.generate([''], { maxNewTokens: 6, numBeams: 2 })).toHaveLength(1);
    };
    await begun(new Sampler(model, tokenizer), 5);
    await begun(new Sampler(model), 5);
    await begun(new Sampler(silent, tokenizer), 3);
    await begun(new Sampler(model, tokenizer, { trainingStarts }), 8);
    await failureOf('ERR_DATA', () => new Sampler(silent).generate(''));
  });
});
