import { IdTokenizer } from '../../../lib/data/id_tokenizer';
import { gpt2 } from '../../../lib/models/gpt2';
import { Model } from '../../../lib/models/model';
import { deviceStatistics, type NativeModel, type Precision, type Visit } from '../../../lib/native';
import { Sampler } from '../../../lib/sampling/sampler';
import { randomWeights } from '../../unit/support/gpt2_cases';
import { groupedModel } from '../../unit/support/grouped_model';
import { withModel, writeParameters } from '../../unit/support/native';
import { padded, sessionOf } from '../../unit/support/sampling';
import {
  checkAlone,
  checkLogProbs,
  checkPadding,
  checkSampling,
  samplingCases,
} from '../../unit/support/sampling_cases';

const device = 'cuda:0';

describe('fp32', () => {
  const where = { device, precision: 'fp32' } as const;

  test.each(samplingCases)('%s', (_, one) => checkSampling(one, where));

  test('log-probabilities are those of the model, whatever the options', () => checkLogProbs(where));
});

describe.each(['fp32', 'tf32', 'bf16', 'fp16'] as const)('%s', (precision) => {
  test.each([0, 0.01, 1, 100, 1e6])('no token of the padding is chosen at temperature %p', (temperature) =>
    checkPadding(temperature, { device, precision }),
  );

  test('a row samples the same beside others as alone', () => checkAlone({ device, precision }));
});

// Weights are the same on each device, and so large that rounding to fp32 decides nothing.
test.each([
  ['nothing but beams', {}],
  ['penalties', { repetitionPenalty: 1.4, frequencyPenalty: 0.2, presencePenalty: 0.1 }],
  ['no pair twice', { noRepeatNgramSize: 2 }],
  ['ends', { eosTokenId: [1, 4], minNewTokens: 4 }],
  [
    'tokens by position',
    { allowedTokens: new Map(Array.from({ length: 17 }, (_, position) => [position, [position % 7, 9]])) },
  ],
  ['biases', { logitBias: new Map([[3, 1.5]]), suppressTokens: [2] }],
] as const)('beams with %s are those of the CPU', async (_, options) => {
  const config = { type: 'gpt2', vocabSize: 40, nPositions: 16, nEmbd: 16, nLayer: 2, nHead: 2 } as const;
  const search = async (where: 'cpu' | typeof device): Promise<unknown> => {
    using model = await Model.create(
      { ...config, initializerRange: 0.4 },
      { device: where, precision: 'fp32' },
    );
    // Of 40 rows 33 have a token.
    const one = new Sampler(model, new IdTokenizer(33));
    return await one.generate(['1 2 3', '7'], {
      numBeams: 4,
      numReturnSequences: 4,
      maxNewTokens: 13,
      ...options,
    });
  };
  expect(await search(device)).toEqual(await search('cpu'));
});

test('a visit of many tokens waits for the device once and allocates nothing', async () => {
  const graph = gpt2({ vocabSize: 61, nPositions: 400, nEmbd: 32, nHead: 2, nLayer: 2 });
  await withModel(graph, { device, precision: 'bf16' }, async (model) => {
    const session = await sessionOf(model, [1, 1], { cache: 400 });
    await session.prefill(...padded([[1, 2, 3], [4]]));
    // Kernels are loaded, then recorded.
    await session.decode(8);
    const before = await deviceStatistics(device);
    const { tokens } = await session.decode(64);
    const after = await deviceStatistics(device);
    expect(after.synchronizations - before.synchronizations).toBe(1);
    expect(after.allocations).toBe(before.allocations);
    expect(Math.min(...tokens)).toBeGreaterThanOrEqual(0);
    // Into the third page of the cache.
    for (let i = 0; i < 4; i++) await session.decode(64);
    session.dispose();
  });
});

test('greedy tokens go on across pages of the cache as the whole forward pass does', async () => {
  const graph = gpt2({ vocabSize: 61, nPositions: 300, nEmbd: 32, nHead: 2, nLayer: 2 });
  const sample = (where: string) =>
    withModel(graph, { device: where }, async (model) => {
      const session = await sessionOf(model, [1, 0.5], { cache: 300 });
      await session.prefill(...padded([Array.from({ length: 125 }, (_, i) => i % 61), [4]]));
      const visits = [await session.decode(64), await session.decode(64)];
      session.dispose();
      return visits.flatMap(({ tokens }) => [...tokens]);
    });
  const [gpu, cpu] = [await sample(device), await sample('cpu')];
  // Rounding may decide a draw otherwise once; from there on the two texts differ.
  const same = gpu.findIndex((token, i) => token !== cpu[i]);
  expect(same < 0 ? gpu.length : same).toBeGreaterThan(40);
});

// Rows: every size of tile. The vocabulary: the wide tiles. Widths: no multiple of what a warp multiplies at a time.
test.each([
  ['bf16', 1],
  ['bf16', 20],
  ['bf16', 40],
  ['fp16', 9],
  ['fp16', 70],
  ['tf32', 9],
] as const)('log-probabilities in %s, %d rows, are near those of the CPU', async (precision, rows) => {
  const graph = gpt2({
    vocabSize: 8209,
    nPositions: 40,
    nEmbd: 200,
    nHead: 5,
    nLayer: 2,
    initializerRange: 0.1,
  });
  const prompts = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: 1 + (row % 7) }, (_unused, i) => (row * 131 + i * 17) % 8209),
  );
  const options = { cache: 40, features: { logProbs: 0 } };
  const sample = (where: string, on: Precision) =>
    withModel(graph, { device: where, precision: on }, async (model) => {
      const session = await sessionOf(
        model,
        prompts.map(() => 1),
        options,
      );
      await session.prefill(...padded(prompts));
      const visit = await session.decode(6);
      session.dispose();
      return visit;
    });
  const gpu = await sample(device, precision);
  const error = await withModel(graph, {}, async (model) => {
    let squares = 0;
    for (const [row, prompt] of prompts.entries()) {
      const chosen = Array.from({ length: 6 }, (_, step) => gpu.tokens[step * rows + row]!);
      const tokens = [...prompt, ...chosen.slice(0, 5)];
      const { outputs } = await model.run(
        { mode: 'eval', rows: 1, lengths: { time: tokens.length }, outputs: ['logProbs'] },
        { tokens: Int32Array.from(tokens) },
      );
      for (const [step, token] of chosen.entries()) {
        const exact = outputs['logProbs']!.data[(prompt.length - 1 + step) * 8209 + token]!;
        squares += (gpu.logProbs[step * rows + row]! - exact) ** 2;
      }
    }
    return Math.sqrt(squares / (6 * rows));
  });
  // Logits of a standard deviation of about 1.4 from sums of 200 products: a dozen roundings to 8 (11) bits on the way.
  expect(error).toBeLessThan({ bf16: 0.05, fp16: 0.01, tf32: 0.01 }[precision]);
});

// Heads: every size of tile, the odd ones padded. Lengths: on, below and above pages of 128 and tiles of 32 and 128.
const several = { vocabSize: 61, nPositions: 400, nEmbd: 48 };
describe.each([
  ...[8, 40, 72, 90, 128, 160].map(
    (headDim) => [`heads of ${headDim}`, gpt2({ ...several, nHead: 2, headDim, nLayer: 2 })] as const,
  ),
  ...(
    [
      [4, 2, 40],
      [6, 1, 72],
      [6, 2, 128],
      [2, 2, 20],
    ] as const
  ).map(
    ([heads, kvHeads, headDim]) =>
      [
        `${heads} heads of ${headDim} over ${kvHeads}`,
        groupedModel({ ...several, heads, kvHeads, headDim }),
      ] as const,
  ),
])('prompts of several pages, %s', (_name, graph) => {
  const weights = randomWeights(graph);
  const lengths = [300, 257, 20, 128, 33];
  const prompts = lengths.map((length, row) => Array.from({ length }, (_, i) => (row * 31 + i * i * 7) % 61));

  /** What is likely after prompts that were read in pieces, which end at shares of their lengths. */
  const read = async (model: NativeModel, shares: readonly number[]): Promise<Visit> => {
    const session = await sessionOf(
      model,
      prompts.map(() => 0),
      { cache: 400, features: { logProbs: 5 } },
    );
    let begin = 0;
    for (const share of shares) {
      const piece = ({ length }: readonly number[], upTo: number): number => Math.ceil(length * upTo);
      await session.prefill(
        ...padded(prompts.map((prompt) => prompt.slice(piece(prompt, begin), piece(prompt, share)))),
      );
      begin = share;
    }
    const visit = await session.decode(3);
    session.dispose();
    return visit;
  };

  // Of a model whose logits reach 5 after two layers: a dozen roundings to 24, 11 and 8 bits on the way.
  test.each([
    ['fp32', 1e-4],
    ['fp16', 0.02],
    ['bf16', 0.15],
  ] as const)('in %s', async (precision, limit) => {
    const exact = await withModel(graph, {}, async (model) => {
      await writeParameters(model, weights);
      return read(model, [1]);
    });
    await withModel(graph, { device, precision }, async (model) => {
      await writeParameters(model, weights);
      const whole = await read(model, [1]);
      // The first token's: later ones may follow others.
      const first = prompts.length * 5;
      for (let i = 0; i < first; i++)
        expect(Math.abs(whole.topLogProbs[i]! - exact.topLogProbs[i]!)).toBeLessThan(limit);
      // A position is computed the same whatever comes with it and before it.
      expect(await read(model, [0.5, 1])).toEqual(whole);
      expect(await read(model, [0.3, 0.35, 1])).toEqual(whole);
    });
  });
});

describe('beam search', () => {
  const config = { type: 'gpt2', vocabSize: 61, nPositions: 160, nEmbd: 48, nHead: 3, nLayer: 2 } as const;
  const letters = {
    name: 'letters',
    vocabSize: 61,
    encode: (text: string) => Int32Array.from(text, (c) => c.charCodeAt(0) % 61),
    decode: (ids: ArrayLike<number>) => String.fromCharCode(...Array.from(ids, (id) => 65 + id)),
    decoder: () => ({ push: (id: number) => String.fromCharCode(65 + id), end: () => '' }),
  };
  // Wide enough weights that no two beams are as likely as each other to within rounding.
  const beams = async (
    where: string,
    precision: Precision,
    prompts: readonly string[],
  ): Promise<string[]> => {
    const model = await Model.create(
      { ...config, initializerRange: 0.3 },
      { device: where as 'cpu', precision, seed: 3 },
    );
    const options = { numBeams: 4, numReturnSequences: 4, maxNewTokens: 20, eosTokenId: [7, 30] };
    const made = await new Sampler(model, letters).generate(prompts, options);
    model.dispose();
    return made.map(({ text, finishReason }) => `${text} ${finishReason}`);
  };
  // The third prompt and its new tokens fill more than a page.
  const prompts = ['a', 'Call me Ishmael', 'Some years ago '.repeat(8)];

  test('finds on the GPU what it finds on the CPU', async () => {
    const found = await beams(device, 'fp32', prompts);
    expect(found).toHaveLength(12);
    expect(found).toEqual(await beams('cpu', 'fp32', prompts));
  });

  test('finds the same beside other prompts as alone, in bf16', async () => {
    const together = await beams(device, 'bf16', prompts);
    expect(await beams(device, 'bf16', [prompts[2]!])).toEqual(together.slice(8));
  });
});
