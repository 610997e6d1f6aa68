import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import type { Tokenizer } from '../../../lib/data/tokenizer';
import type { Model } from '../../../lib/models/model';
import type { GenerateOptions, MaskedSequence } from '../../../lib/sampling/options';
import { Sampler } from '../../../lib/sampling/sampler';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

const ROWS = 40;
const TOKENS = 33;

/** A tokenizer of fewer tokens than the model has rows: a number a token. */
const numbers = (vocabSize: number, more: Partial<Tokenizer> = {}): Tokenizer => ({
  name: 'numbers',
  vocabSize,
  encode: (text: string) => Int32Array.from(text.split(' ').filter(Boolean), Number),
  decode: (ids: ArrayLike<number>) => Array.from(ids).join(' '),
  decoder: () => ({ push: (id: number) => ` ${id}`, end: () => '' }),
  ...more,
});

/** Its last rows, which have no token, are by far the likeliest. */
async function padded(): Promise<Model> {
  const model = await tinyModel({ vocabSize: ROWS, nPositions: 16, tieWordEmbeddings: false });
  const weights = await model.native.readTensor('parameter', 'lm_head.weight');
  const width = weights.length / ROWS;
  const bias = await model.native.readTensor('parameter', 'transformer.ln_f.bias');
  await model.native.writeTensor('parameter', 'transformer.ln_f.bias', bias.fill(1));
  await model.native.writeTensor('parameter', 'lm_head.weight', weights.fill(2, TOKENS * width));
  return model;
}

describe('a model with more rows than its tokenizer has tokens', () => {
  const all = (batch: readonly MaskedSequence[]): Uint32Array =>
    new Uint32Array(2 * batch.length).fill(0xffffffff);
  const ways: readonly (readonly [string, GenerateOptions])[] = [
    ['greedy', { temperature: 0 }],
    ['drawn', {}],
    ['hot', { temperature: 1e6 }],
    ['cold', { temperature: 2 ** -126 }],
    ['filtered', { topK: 3, topP: 0.9, minP: 0.01 }],
    ['masked', { tokenMask: all }],
    ['allowed', { allowedTokens: new Map([[3, [1, TOKENS]], [30, [2, ROWS - 1]]]) }], // prettier-ignore
    ['biased', { logitBias: new Map([[TOKENS, 100]]) }],
    ['penalized', { repetitionPenalty: 1.5, noRepeatNgramSize: 2 }],
    ['beams', { numBeams: 4, maxNewTokens: 10 }],
    ['biased beams', { numBeams: 4, maxNewTokens: 10, logitBias: new Map([[TOKENS, 100]]) }],
  ];

  it.each(ways)('%s gives ids with a token alone, beyond the context too', async (_, options) => {
    const model = await padded();
    const one = new Sampler(model, numbers(TOKENS));
    const { tokens } = await one.generate('1 2', { maxNewTokens: 40, seed: 1, ...options });
    expect(tokens.length).toBe(options.maxNewTokens ?? 40);
    expect(Math.max(...tokens)).toBeLessThan(TOKENS);
    const whole = new Sampler(model, numbers(ROWS));
    const { tokens: free } = await whole.generate('1 2', { maxNewTokens: 8, temperature: 0 });
    expect(Math.max(...free)).toBeGreaterThanOrEqual(TOKENS);
  });

  it('has log-probabilities of its tokens alone', async () => {
    const model = await padded();
    const options = { maxNewTokens: 4, seed: 1, logprobs: 20, suppressTokens: [0, 1] };
    const made = await new Sampler(model, numbers(TOKENS)).generate('1 2', options);
    const { data } = await model.logits([[1, 2, ...made.tokens]]);
    made.tokens.forEach((token, i) => {
      const row = [...data.subarray((1 + i) * ROWS, (1 + i) * ROWS + TOKENS)];
      const total = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      // Sums of 33 fp32 terms.
      expect(made.logprobs?.[i]).toBeCloseTo(row[token]! - total, 4);
      const likeliest = made.topLogprobs![i]!;
      expect(likeliest.every((one) => one.token < TOKENS)).toBe(true);
      // By the model alone: what the options suppress is told of too.
      const best = row.indexOf(Math.max(...row));
      expect(likeliest[0]).toMatchObject({ token: best });
      expect(likeliest[0]!.logprob).toBeCloseTo(row[best]! - total, 4);
    });
  });

  it('takes no prompt, set or mask of ids that have no token', async () => {
    const one = new Sampler(await padded(), numbers(TOKENS));
    const prompt = await failureOf('ERR_DATA', () => one.generate([1, TOKENS]));
    expect(prompt.message).toBe(
      `token 1 of the prompt is ${TOKENS}: ids are integers from 0 to ${TOKENS - 1}`,
    );
    for (const options of [
      { allowedTokens: new Map([[4, [TOKENS, ROWS - 1]]]) },
      { forcedTokens: new Map([[4, TOKENS]]) },
    ]) {
      const { message } = await failureOf('ERR_CONFIG', () => one.generate('1', options));
      expect(message).toMatch(/of position 4 allows no token: ids from 33 on have none/);
    }
    const tokenMask = (batch: readonly MaskedSequence[]): Uint32Array =>
      new Uint32Array(2 * batch.length).map((_, i) => (i % 2 === 0 ? 0 : 0b11111110));
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

  it('end no text where they have no token', async () => {
    const model = await tinyModel({ vocabSize: ROWS, eosTokenId: ROWS - 1, bosTokenId: ROWS - 1 });
    const one = new Sampler(model, numbers(TOKENS, { endOfTextToken: 7, startToken: 3 }));
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
