import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import type { Model } from '../../../lib/models/model';
import type { GenerateOptions, MaskedSequence } from '../../../lib/sampling/options';
import { Sampler } from '../../../lib/sampling/sampler';
import { beamSearch } from '../../oracles/beam_search';
import { scores, type ScoreOptions } from '../../oracles/sampling';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

const VOCABULARY = 7;
const PROMPTS: readonly (readonly number[])[] = [[0], [2, 1, 3], [6, 5, 5, 1]];

/** A letter a token. */
const letters = {
  ...new ByteTokenizer(),
  name: 'letters',
  vocabSize: VOCABULARY,
  encode: (text: string) => Int32Array.from(text, (c) => c.charCodeAt(0) - 97),
  decode: (ids: ArrayLike<number>) => Array.from(ids, (id) => String.fromCharCode(97 + id)).join(''),
  decoder: () => ({ push: (id: number) => String.fromCharCode(97 + id), end: () => '' }),
};

const model = (): Promise<Model> => tinyModel({ vocabSize: VOCABULARY, initializerRange: 0.4 });

/** The results of the model above, cached: all cases use the same texts. */
const known = new Map<string, ArrayLike<number>>();

const logProbs =
  (one: Model) =>
  async (tokens: readonly number[]): Promise<ArrayLike<number>> => {
    const found =
      known.get(tokens.join()) ??
      (await one.logProbs([tokens])).data.subarray((tokens.length - 1) * VOCABULARY);
    known.set(tokens.join(), found);
    return found;
  };

/** Odd after even, and even after odd, but 4 after anything. */
const mayFollow = (last: number, id: number): boolean => id === 4 || (last + id) % 2 === 1;
const tokenMask = (batch: readonly MaskedSequence[]): Uint32Array =>
  Uint32Array.from(batch, ({ tokens }) =>
    Array.from({ length: VOCABULARY }, (_, id) => (mayFollow(tokens.at(-1)!, id) ? 1 << id : 0)).reduce(
      (a, b) => a | b,
    ),
  );

/** The effect of the options in transformers. */
function processed(options: GenerateOptions, promptLength: number) {
  return (given: ArrayLike<number>, tokens: readonly number[]): readonly number[] => {
    const position = tokens.length;
    const forced = options.forcedTokens?.get(position);
    const sets = forced === undefined ? options.allowedTokens?.get(position) : [forced];
    const ids = Array.from({ length: VOCABULARY }, (_, id) => id);
    const allowed = ids.filter(
      (id) =>
        (sets?.includes(id) ?? true) &&
        !options.suppressTokens?.includes(id) &&
        (!options.tokenMask || mayFollow(tokens.at(-1)!, id)),
    );
    const rules: ScoreOptions = {
      tokens,
      promptLength,
      bias: options.logitBias ?? new Map(),
      allowed: new Set(allowed),
      stops: [options.eosTokenId ?? [], options.stopTokens ?? []].flat(),
      minNewTokens: options.minNewTokens ?? 0,
      repetitionPenalty: options.repetitionPenalty ?? 1,
      frequencyPenalty: options.frequencyPenalty ?? 0,
      presencePenalty: options.presencePenalty ?? 0,
      noRepeatNgramSize: options.noRepeatNgramSize ?? 0,
    };
    return scores(given, rules);
  };
}

const CASES: readonly (readonly [string, GenerateOptions])[] = [
  ['nothing but beams', {}],
  ['repetitionPenalty', { repetitionPenalty: 1.6 }],
  ['repetitionPenalty below 1', { repetitionPenalty: 0.7 }],
  ['frequencyPenalty', { frequencyPenalty: 0.8 }],
  ['presencePenalty', { presencePenalty: 0.9 }],
  ['noRepeatNgramSize 1', { noRepeatNgramSize: 1, maxNewTokens: 3 }],
  ['noRepeatNgramSize 2', { noRepeatNgramSize: 2 }],
  [
    'noRepeatNgramSize 3 and penalties',
    { noRepeatNgramSize: 3, repetitionPenalty: 1.2, presencePenalty: -0.3 },
  ],
  ['logitBias and suppressTokens', { logitBias: new Map([[3, 2.5]]), suppressTokens: [0, 5] }],
  ['allowedTokens', { allowedTokens: new Map([5, 6, 8].map((position) => [position, [position % 3, 4]])) }],
  ['forcedTokens', { forcedTokens: new Map([[4, 2], [7, 6]]) }], // prettier-ignore
  ['tokenMask', { tokenMask }],
  ['minNewTokens', { minNewTokens: 5, eosTokenId: [1, 4] }],
  ['stopTokens', { stopTokens: [1], eosTokenId: [4], repetitionPenalty: 1.1 }],
  ['stop', { stop: ['ed', 'b'] }],
  ['stop and eosTokenId', { stop: 'cd', eosTokenId: 4, repetitionPenalty: 1.3 }],
  [
    'everything',
    {
      ...{
        repetitionPenalty: 1.2,
        frequencyPenalty: 0.1,
        noRepeatNgramSize: 3,
        minNewTokens: 3,
        eosTokenId: 4,
      },
      ...{
        logitBias: new Map([[2, 0.5]]),
        stop: 'fa',
        tokenMask,
        allowedTokens: new Map([[6, [0, 1, 2, 4]]]),
      },
    },
  ],
];

describe.each(CASES)('beams with %s', (_, given) => {
  it.each([
    [2, 1, false],
    [3, 0, 'never'],
    [4, -1, true],
    [3, 2, false],
  ] as const)(
    '%d, lengthPenalty %d, earlyStopping %s, are what transformers finds',
    async (numBeams, lengthPenalty, earlyStopping) => {
      const one = await model();
      const options: GenerateOptions = { maxNewTokens: 9, ...given, numBeams, lengthPenalty, earlyStopping };
      const sampler = new Sampler(one, letters);
      const made = await sampler.generate(PROMPTS, { ...options, numReturnSequences: numBeams });
      const stops = [options.stop ?? []].flat();
      for (const prompt of PROMPTS) {
        const expected = await beamSearch({
          prompt,
          numBeams,
          lengthPenalty,
          earlyStopping,
          maxNewTokens: options.maxNewTokens!,
          ends: [options.eosTokenId ?? [], options.stopTokens ?? []].flat(),
          logProbs: logProbs(one),
          process: processed(options, prompt.length),
          hasStop: (tokens) => stops.some((stop) => letters.decode(tokens).includes(stop)),
        });
        const found = made.splice(0, expected.length);
        expect(found.map(({ tokens }) => [...tokens])).toEqual(expected.map(({ tokens }) => tokens));
        expect(expected.length).toBeGreaterThan(0);
        for (const { tokens, text, finishReason } of found) {
          const last = tokens.at(-1)!;
          const isEnd = [options.eosTokenId ?? [], options.stopTokens ?? []].flat().includes(last);
          const whole = letters.decode(isEnd ? tokens.subarray(0, -1) : tokens);
          const at = stops.map((stop) => whole.indexOf(stop)).filter((index) => index >= 0);
          expect(text).toBe(at.length > 0 ? whole.slice(0, Math.min(...at)) : whole);
          const isStop = at.length > 0 || options.stopTokens?.includes(last);
          expect(finishReason).toBe(isStop ? 'stop' : isEnd ? 'eos' : 'length');
        }
      }
      expect(made).toEqual([]);
    },
  );
});

it('beams without an allowed token are replaced by others, and are an error if there are none', async () => {
  const one = new Sampler(await model(), letters);
  // Nothing may follow 3.
  const dead = (batch: readonly MaskedSequence[]): Uint32Array =>
    Uint32Array.from(batch, ({ tokens }) => (tokens.at(-1) === 3 ? 0 : 0b1111000));
  const made = await one.generate(['a'], {
    tokenMask: dead,
    numBeams: 4,
    numReturnSequences: 4,
    maxNewTokens: 6,
  });
  expect(made).toHaveLength(4);
  for (const { tokens } of made) expect([...tokens.subarray(0, -1)]).not.toContain(3);
  const nothing = (batch: readonly MaskedSequence[]): Uint32Array => new Uint32Array(batch.length);
  const { message } = await failureOf('ERR_DATA', () =>
    one.generate(['a', 'b'], { tokenMask: nothing, numBeams: 2, maxNewTokens: 3 }),
  );
  expect(message).toMatch(/prompt 0: no token can be chosen/);
});

it('tokens by position hold up to the last of the context', async () => {
  const one = new Sampler(await model(), letters);
  const sets = new Map(Array.from({ length: 17 }, (_, position) => [position, [position % VOCABULARY]]));
  for (const options of [
    { allowedTokens: sets },
    { forcedTokens: new Map([...sets].map(([p, [id]]) => [p, id!])) },
  ]) {
    const { tokens } = await one.generate('a', { ...options, numBeams: 3, maxNewTokens: 16 });
    expect([...tokens]).toEqual(Array.from({ length: 16 }, (_, i) => (i + 1) % VOCABULARY));
  }
});

it('take types, which their model needs', async () => {
  const typed = await tinyModel({ vocabSize: VOCABULARY, nTypes: 2, initializerRange: 0.4 });
  const byToken = Array.from({ length: VOCABULARY }, (_, id) => id % 2);
  const options = { types: { byToken }, maxNewTokens: 6 };
  const one = new Sampler(typed, letters);
  // As many beams as there are first tokens: the likeliest sequence of two tokens is among them.
  const { tokens } = await one.generate('c', { ...options, numBeams: VOCABULARY, maxNewTokens: 2 });
  const best = { tokens: [-1, -1], score: -Infinity };
  for (let a = 0; a < VOCABULARY; a++)
    for (let b = 0; b < VOCABULARY; b++) {
      const { data } = await typed.logProbs([[2, a, b]], { types: [[0, byToken[a]!, byToken[b]!]] });
      const score = data[a]! + data[VOCABULARY + b]!;
      if (score > best.score) Object.assign(best, { tokens: [a, b], score });
    }
  expect([...tokens]).toEqual(best.tokens);
});

it('looks for stop texts in a time that is proportional to the tokens', async () => {
  const one = await tinyModel({ vocabSize: VOCABULARY, nPositions: 256 });
  const decoded = async (maxNewTokens: number): Promise<number> => {
    let count = 0;
    const decoder = (prompt: ArrayLike<number> = []) => {
      count += prompt.length;
      return { push: (id: number) => (count++, letters.decode([id])), end: () => '' };
    };
    await new Sampler(one, { ...letters, decoder }).generate('a', {
      ...{ numBeams: 2, maxNewTokens, stop: 'never' },
    });
    return count;
  };
  const short = await decoded(60);
  expect(await decoded(240)).toBeLessThan(5 * short);
});
