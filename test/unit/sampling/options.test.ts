import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import type { SequenceStarts } from '../../../lib/data/dataset';
import { tokenSettings } from '../../../lib/models/families';
import type { GPT2Options } from '../../../lib/models/gpt2_config';
import type { GenerateOptions, MaskedSequence } from '../../../lib/sampling/options';
import { Sampler, type SamplerOptions } from '../../../lib/sampling/sampler';
import { scores } from '../../oracles/sampling';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

async function sampler(config: Partial<GPT2Options> = {}, options: SamplerOptions = {}): Promise<Sampler> {
  return new Sampler(await tinyModel({ vocabSize: 256, ...config }), new ByteTokenizer(), options);
}

describe('several sequences', () => {
  it('are the same as alone, also beyond the end of the context', async () => {
    const one = await sampler();
    const prompts = ['a', 'hello world', '0123456789abcdef0123', ''];
    const options = { maxNewTokens: 40, seed: 9, topK: 40, repetitionPenalty: 1.2 };
    const together = await one.generate(prompts, options);
    expect(together).toHaveLength(4);
    for (const [i, prompt] of prompts.entries())
      expect(await one.generate(prompt, options)).toEqual(together[i]);
  });

  it('of one prompt differ, do not depend on other prompts, and the first is the same as alone', async () => {
    const one = await sampler();
    const options = { maxNewTokens: 12, seed: 4, numReturnSequences: 3 };
    const made = await one.generate(['ab', 'c'], options);
    expect(made).toHaveLength(6);
    expect(await one.generate(['ab'], options)).toEqual(made.slice(0, 3));
    expect(await one.generate(['c'], options)).toEqual(made.slice(3));
    expect(await one.generate('ab', { maxNewTokens: 12, seed: 4 })).toEqual(made[0]);
  });

  it('of different seeds, or sequences of one, share no random numbers', async () => {
    const one = await sampler();
    const streams = new Map<string, string>();
    for (const seed of [0, 1, 2, 3, 4, 5, 2 ** 32, 2 ** 32 + 1, 2 ** 52, 2 ** 53 - 2, 2 ** 53 - 1]) {
      const made = await one.generate(['x'], { maxNewTokens: 12, seed, numReturnSequences: 12 });
      for (const [i, { tokens }] of made.entries()) {
        // An untrained model is nearly uniform over 256 tokens: equal numbers are equal tokens.
        expect(streams.get(tokens.join())).toBeUndefined();
        streams.set(tokens.join(), `${seed}, ${i}`);
      }
    }
    expect(streams.size).toBe(11 * 12);
  });

  it('without a seed are drawn apart, of one prompt or several, in each call', async () => {
    const one = await sampler();
    const made = [
      ...(await one.generate(Array(4).fill('ab'), { maxNewTokens: 12, numReturnSequences: 2 })),
      ...(await one.generate(Array(4).fill('ab'), { maxNewTokens: 12 })),
    ];
    expect(new Set(made.map(({ tokens }) => tokens.join())).size).toBe(12);
  });

  it('are refused if there are too many to generate at once', async () => {
    const one = await sampler();
    const many = { numReturnSequences: 40_000, maxNewTokens: 1 };
    const { message } = await failureOf('ERR_CONFIG', () => one.generate(['a', 'b'], many));
    expect(message).toMatch(/numReturnSequences is 40000: with 2 prompts .* 80000 sequences.*65535/);
    const beams = { numBeams: 64, maxNewTokens: 1 };
    await failureOf('ERR_CONFIG', () => one.generate(Array(1024).fill('a'), beams));
  });

  it('end with the document by default', async () => {
    const one = await sampler();
    const { tokens: free } = await one.generate('a', { maxNewTokens: 30, seed: 1 });
    const endOfTextToken = free[4]!;
    const tokenizer = Object.assign(new ByteTokenizer(), { endOfTextToken });
    const prompted = new Sampler(one.model, tokenizer);
    const ended = await prompted.generate('a', { maxNewTokens: 30, seed: 1 });
    expect(ended.finishReason).toBe('eos');
    expect(ended.tokens).toEqual(free.subarray(0, free.indexOf(endOfTextToken) + 1));
    const more = await prompted.generate('a', { maxNewTokens: 30, seed: 1, eosTokenId: [] });
    expect(more).toMatchObject({ tokens: free, finishReason: 'length' });
  });

  it('end one by one, and none when there are none', async () => {
    const one = await sampler();
    const free = await one.generate(['a', 'b', 'c'], { maxNewTokens: 30, seed: 1 });
    const eos = free[1]!.tokens[4]!;
    const made = await one.generate(['a', 'b', 'c'], { maxNewTokens: 30, seed: 1, eosTokenId: eos });
    for (const [i, { tokens, finishReason, text }] of made.entries()) {
      const end = free[i]!.tokens.indexOf(eos);
      expect(finishReason).toBe(end < 0 ? 'length' : 'eos');
      expect([...tokens]).toEqual([...free[i]!.tokens.subarray(0, end < 0 ? 30 : end + 1)]);
      if (end >= 0) expect(text).toBe(one.tokenizer.decode(tokens.subarray(0, -1)));
    }
    for (const options of [{}, { numBeams: 2, maxNewTokens: 3 }, { numReturnSequences: 2 }])
      expect(await one.generate([], options)).toEqual([]);
  });

  it('are what there is when they are aborted', async () => {
    const one = await sampler();
    const made = await one.generate(['a', 'b'], { signal: AbortSignal.abort() });
    expect(made.map(({ finishReason }) => finishReason)).toEqual(['abort', 'abort']);
  });
});

it('stop tokens end with stop, after minNewTokens', async () => {
  const one = await sampler();
  const stopTokens = Array.from({ length: 128 }, (_, i) => 2 * i);
  const made = await one.generate('a', { seed: 2, stopTokens, minNewTokens: 6, maxNewTokens: 100 });
  expect(made.finishReason).toBe('stop');
  expect(made.tokens.length).toBeGreaterThan(6);
  expect([...made.tokens.subarray(0, 6)].every((id) => id % 2 === 1)).toBe(true);
  expect(made.tokens.at(-1)! % 2).toBe(0);
});

describe('tokens by position', () => {
  it('count from the first of the prompt, and hold beyond the end of the context', async () => {
    const one = await sampler();
    const { nPositions } = tokenSettings(one.model.config)!;
    const far = nPositions + 5;
    const allowedTokens = new Map([
      [2, [65, 66]],
      [far, [67, 68]],
    ]);
    const forcedTokens = new Map([
      [4, 90],
      [far + 1, 91],
    ]);
    const options = { maxNewTokens: far + 4, seed: 3, allowedTokens, forcedTokens };
    const made = await one.generate(['ab', 'xyz'], options);
    const ab = [97, 98, ...made[0]!.tokens];
    const xyz = [120, 121, 122, ...made[1]!.tokens];
    expect([65, 66]).toContain(ab[2]);
    for (const sequence of [ab, xyz]) {
      expect(sequence[4]).toBe(90);
      expect([67, 68]).toContain(sequence[far]);
      expect(sequence[far + 1]).toBe(91);
    }
  });

  it('and masks, biases and suppressed tokens hold together', async () => {
    const one = await sampler();
    const seen: number[][] = [];
    const tokenMask = (batch: readonly MaskedSequence[]): Uint32Array => {
      const mask = new Uint32Array(8 * batch.length);
      batch.forEach(({ tokens, prompt }, row) => {
        seen.push([prompt, tokens.length]);
        // Letters of a's case: never that of the token before.
        for (let id = 97; id < 123; id++)
          if (id !== tokens.at(-1)) mask[8 * row + Math.floor(id / 32)]! |= 1 << (id % 32);
      });
      return mask;
    };
    const options = {
      maxNewTokens: 30,
      seed: 3,
      tokenMask,
      suppressTokens: [97, 101],
      logitBias: new Map([[98, -Infinity]]),
    };
    const made = await one.generate(['zz', 'q'], options);
    for (const { text } of made) expect(text).toMatch(/^[cdf-z]{30}$/);
    for (const { text } of made) expect(text).not.toMatch(/(.)\1/);
    expect(seen.slice(0, 4)).toEqual([
      [0, 2],
      [1, 1],
      [0, 3],
      [1, 2],
    ]);
  });

  it('a mask that allows nothing, or is not a mask, is an error that names the row', async () => {
    const one = await sampler();
    const nothing = (batch: readonly MaskedSequence[]): Uint32Array =>
      new Uint32Array(8 * batch.length).fill(0xffffffff, 0, 8);
    const { message, details } = await failureOf('ERR_DATA', () =>
      one.generate(['a', 'b'], { tokenMask: nothing }),
    );
    expect(message).toMatch(/row 1.*prompt 1/);
    expect(details['row']).toBe(1);
    const wrong = await failureOf('ERR_DATA', () =>
      one.generate('a', { tokenMask: () => new Uint32Array(7) }),
    );
    expect(wrong.message).toMatch(/8 words.*not of 7/);
    const thrown = one.generate('a', {
      tokenMask: () => {
        throw new RangeError('mine');
      },
    });
    await expect(thrown).rejects.toThrow('mine');
    expect((await one.generate('a', { maxNewTokens: 2 })).tokens).toHaveLength(2);
    const none = { suppressTokens: Array.from({ length: 256 }, (_, i) => i) };
    expect((await failureOf('ERR_DATA', () => one.generate('a', none))).message).toMatch(/row 0 .*no token/);
  });
});

describe('beyond the end of the context', () => {
  const { positions, allowed } = {
    positions: 80,
    allowed: (position: number) => [position % 7, 64 + (position % 5)],
  };
  const sets = new Map(Array.from({ length: positions }, (_, position) => [position, allowed(position)]));
  const holds = (prompt: number, tokens: readonly number[]): boolean =>
    tokens.every((token, i) => allowed(prompt + i).includes(token));

  it('allowed and forced tokens hold at every position, for prompts of any length', async () => {
    const one = await sampler();
    const prompts = ['a', 'abcdefg', '0123456789abcdef', '0123456789abcdef01234'];
    const made = await one.generate(prompts, { maxNewTokens: 50, seed: 3, allowedTokens: sets });
    for (const [i, { tokens }] of made.entries())
      expect({ i, holds: holds(prompts[i]!.length, [...tokens]) }).toEqual({ i, holds: true });
    const forcedTokens = new Map([...sets].map(([position, [token]]) => [position, token!]));
    const forced = await one.generate(prompts, { maxNewTokens: 50, seed: 3, forcedTokens });
    for (const [i, { tokens }] of forced.entries())
      expect([...tokens]).toEqual(Array.from(tokens, (_, at) => (prompts[i]!.length + at) % 7));
    const streamed: number[] = [];
    for await (const { token } of one.stream('a', { maxNewTokens: 50, seed: 3, allowedTokens: sets }))
      streamed.push(token);
    expect(streamed).toEqual([...made[0]!.tokens]);
  });

  it('in the smallest contexts too', async () => {
    for (const nPositions of [1, 2, 3]) {
      const one = await sampler({ nPositions });
      const { tokens } = await one.generate('a', { maxNewTokens: 20, seed: 1, allowedTokens: sets });
      expect(holds(1, [...tokens])).toBe(true);
    }
  });

  it('no run of tokens comes twice, in masks of the caller neither', async () => {
    const one = new Sampler(await tinyModel({ vocabSize: 12 }));
    const odd = (batch: readonly MaskedSequence[]): Uint32Array =>
      new Uint32Array(batch.length).fill(0b101010101010);
    for (const [options, n] of [
      [{ noRepeatNgramSize: 2, maxNewTokens: 60 }, 2],
      [{ noRepeatNgramSize: 3, maxNewTokens: 60, temperature: 0.1 }, 3],
      [{ noRepeatNgramSize: 3, maxNewTokens: 60, tokenMask: odd, temperature: 0.1 }, 3],
    ] as const) {
      const made = await one.generate([[1], [2, 3, 4]], { seed: 1, ...options });
      for (const [i, { tokens }] of made.entries()) {
        const sequence = [...(i === 0 ? [1] : [2, 3, 4]), ...tokens];
        const runs = sequence.slice(n - 1).map((_, at) => sequence.slice(at, at + n).join());
        expect(new Set(runs).size).toBe(runs.length);
        if ('tokenMask' in options) expect([...tokens].every((token) => token % 2 === 1)).toBe(true);
      }
    }
  });

  it('no token repeats until none is left', async () => {
    const one = new Sampler(await tinyModel({ vocabSize: 24 }));
    const { tokens } = await one.generate([1], { noRepeatNgramSize: 1, maxNewTokens: 23, seed: 1 });
    expect(new Set([1, ...tokens]).size).toBe(24);
    await failureOf('ERR_DATA', () => one.generate([1], { noRepeatNgramSize: 1, maxNewTokens: 24 }));
  });

  it('penalties count tokens of the whole sequence', async () => {
    const one = new Sampler(await tinyModel({ vocabSize: 48 }));
    const options = { maxNewTokens: 40, temperature: 0 };
    // A token that has occurred has no chance, so the first 40 all differ.
    for (const penalty of [{ presencePenalty: 100 }, { frequencyPenalty: 100 }])
      expect(new Set((await one.generate([1], { ...options, ...penalty })).tokens).size).toBe(40);
    const settings = { repetitionPenalty: 1.3, frequencyPenalty: 0.02, presencePenalty: 0.01 };
    const prompt = Array.from({ length: 40 }, (_, i) => (i * i) % 48);
    const { tokens } = await one.generate(prompt, { ...options, ...settings });
    const sequence = [...prompt];
    let context = prompt.slice(-8);
    for (const token of tokens) {
      if (context.length > 16) context = context.slice(-8);
      const { data } = await one.model.logits([context]);
      const rule = { tokens: sequence, promptLength: prompt.length, ...settings };
      const expected = scores(data.subarray(data.length - 48), rule);
      // The likeliest, except where rounding decides.
      expect(expected[token]).toBeGreaterThan(Math.max(...expected) - 1e-5);
      sequence.push(token);
      context.push(token);
    }
  });

  it('minNewTokens counts tokens of all contexts', async () => {
    const one = await sampler();
    const stopTokens = Array.from({ length: 128 }, (_, i) => 2 * i);
    const { tokens } = await one.generate('a', { seed: 2, stopTokens, minNewTokens: 40, maxNewTokens: 60 });
    expect(tokens.length).toBeGreaterThan(40);
    expect([...tokens.subarray(0, 40)].every((id) => id % 2 === 1)).toBe(true);
  });
});

describe('types', () => {
  const config = { nTypes: 3, nStypes: 5 } as const;

  it('by token and by position match the whole forward pass', async () => {
    const one = await sampler(config);
    const byToken = Array.from({ length: 256 }, (_, id) => id % 3);
    const byPosition = Array.from({ length: 64 }, (_, position) => (position * 2) % 5);
    const options = { maxNewTokens: 10, temperature: 0, types: { byToken }, subtypes: { byPosition } };
    const made = await one.generate(['hello', 'a'], options);
    for (const [i, prompt] of ['hello', 'a'].entries()) {
      const tokens = [...(await one.tokenizer.encode(prompt))];
      for (const token of made[i]!.tokens) {
        const types = [tokens.map((id) => byToken[id]!)];
        const subtypes = [tokens.map((_, position) => byPosition[position]!)];
        const { data } = await one.model.logits([tokens], { types, subtypes });
        const last = data.subarray(data.length - 256);
        expect(token).toBe(last.indexOf(Math.max(...last)));
        tokens.push(token);
      }
    }
  });

  it('must be there, in range, and reach to the end', async () => {
    const one = await sampler(config);
    const good = {
      types: { byToken: Array<number>(256).fill(1) },
      subtypes: { byPosition: Array<number>(64).fill(4) },
    };
    const refused: [GenerateOptions, RegExp][] = [
      [{}, /types are missing.*nTypes/],
      ...[{}, null, 5, { byToken: 5 }, { byTokens: [1] }, { ...good.types, ...good.subtypes }].map(
        (types): [GenerateOptions, RegExp] => [
          { ...good, types: types as never },
          /types must be \{ byToken: \[…\] \} or \{ byPosition: \[…\] \}, not/,
        ],
      ),
      [{ ...good, types: { byToken: [1] } }, /1 entries.*256/],
      [{ ...good, types: { byToken: Array<number>(256).fill(3) } }, /types\[0\] is 3.*0 to 2/],
      [{ ...good, subtypes: { byPosition: [1, 2, 5] } }, /subtypes\[2\] is 5/],
      [{ ...good, subtypes: { byPosition: [1, 2, 3] }, maxNewTokens: 4 }, /no entry for position 3/],
    ];
    for (const [options, message] of refused)
      expect((await failureOf('ERR_CONFIG', () => one.generate('a', options))).message).toMatch(message);
    // Of four tokens the last is never read.
    const exact = { ...good, subtypes: { byPosition: [1, 2, 3, 4] }, maxNewTokens: 4 };
    expect((await one.generate('a', exact)).tokens).toHaveLength(4);
  });
});

describe('how training began', () => {
  const starts = (...tokens: number[]): SequenceStarts => ({
    firstTokens: tokens.map((token) => ({ token, count: 3 })),
    promptTokens: { least: 1, most: 1 },
  });

  it('is how a prompt begins, unless any start is allowed', async () => {
    const trainingStarts = starts(65, 10);
    const strict = await sampler({}, { trainingStarts });
    const { message, details } = await failureOf('ERR_DATA', () => strict.generate('b'));
    expect(message).toMatch(/token 98 \("b"\), .*began with 65 \("A"\), 10 \("\\n"\): .*allowAnyStart/);
    expect(details).toEqual({ token: 98, firstTokens: [65, 10] });
    expect((await strict.generate('Ab', { maxNewTokens: 1 })).tokens).toHaveLength(1);
    const lenient = new Sampler(strict.model, strict.tokenizer, { trainingStarts, allowAnyStart: true });
    expect((await lenient.generate('b', { maxNewTokens: 1 })).tokens).toHaveLength(1);
  });

  it('starts an empty prompt if there is only one start token', async () => {
    const one = await sampler({}, { trainingStarts: starts(65) });
    const draw = async (prompt: string): Promise<number[]> => [
      ...(await one.generate(prompt, { maxNewTokens: 8, seed: 1 })).tokens,
    ];
    expect(await draw('')).toEqual(await draw('A'));
    const two = new Sampler(one.model, one.tokenizer, { trainingStarts: starts(65, 66) });
    expect((await failureOf('ERR_DATA', () => two.generate(''))).message).toMatch(/begins with token 10/);
  });

  it('may be any, or not recorded', async () => {
    const any = await sampler({}, { trainingStarts: { ...starts(), firstTokens: 'any' } });
    expect((await any.generate('b', { maxNewTokens: 1 })).tokens).toHaveLength(1);
    const unknown = new Sampler(any.model, any.tokenizer, { trainingStarts: undefined });
    expect((await unknown.generate('', { maxNewTokens: 1 })).tokens).toHaveLength(1);
  });

  it('applies only options with these names', async () => {
    const misspelt: object = { allowAnyStarts: true };
    const { message, details } = await failureOf('ERR_CONFIG', () => sampler({}, misspelt));
    expect(message).toBe('allowAnyStarts is unknown: did you mean allowAnyStart?');
    expect(details).toMatchObject({ path: 'allowAnyStarts' });
    const wrong: [unknown, RegExp][] = [
      [null, /options must be an object, not null/],
      [{ allowAnyStart: 1 }, /allowAnyStart must be true or false, not 1/],
      [{ trainingStarts: 5 }, /trainingStarts must be an object, not 5/],
    ];
    for (const [options, what] of wrong) {
      const failure = await failureOf('ERR_CONFIG', () => sampler({}, options as SamplerOptions));
      expect(failure.message).toMatch(what);
    }
  });

  it('of a file that lies is no reason to crash', async () => {
    const lying = await sampler({}, { trainingStarts: starts(100_000) });
    expect((await failureOf('ERR_DATA', () => lying.generate('b'))).message).toMatch(/began with 100000:/);
    expect((await failureOf('ERR_DATA', () => lying.generate(''))).message).toMatch(/100000.*0 to 255/);
  });
});

it('log-probabilities come with tokens, streamed or not', async () => {
  const one = await sampler();
  const options = { maxNewTokens: 12, seed: 6, logprobs: 3, temperature: 0.7 };
  const whole = await one.generate('abc', options);
  const { data } = await one.model.logProbs([[...(await one.tokenizer.encode('abc')), ...whole.tokens]]);
  whole.tokens.forEach((token, i) => {
    const row = data.subarray((2 + i) * 256, (3 + i) * 256);
    // Two paths to the same sum of 256 fp32 terms.
    expect(whole.logprobs?.[i]).toBeCloseTo(row[token]!, 4);
    const [first] = whole.topLogprobs?.[i] ?? [];
    expect(first?.token).toBe(row.indexOf(Math.max(...row)));
    expect(whole.topLogprobs?.[i]).toHaveLength(3);
  });
  const streamed = [];
  for await (const { logprob } of one.stream('abc', options)) streamed.push(logprob);
  expect(streamed).toEqual([...(whole.logprobs ?? [])]);
  expect((await one.generate('abc', { ...options, logprobs: true })).topLogprobs).toBeUndefined();
  expect((await one.generate('abc', { maxNewTokens: 1 })).logprobs).toBeUndefined();
});

it('streams whole characters', async () => {
  const one = await sampler();
  // é, in bytes, again and again.
  const forcedTokens = new Map(Array.from({ length: 14 }, (_, i) => [1 + i, i % 2 === 0 ? 195 : 169]));
  const texts: string[] = [];
  for await (const { text } of one.stream('a', { maxNewTokens: 13, forcedTokens })) texts.push(text);
  expect(texts.join('')).toBe('éééééé\ufffd');
  expect(texts.slice(0, 4)).toEqual(['', 'é', '', 'é']);
});
