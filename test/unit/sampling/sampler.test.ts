import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { tokenSettings } from '../../../lib/models/families';
import type { GPT2Options } from '../../../lib/models/gpt2_config';
import type { Model } from '../../../lib/models/model';
import type { GenerateOptions } from '../../../lib/sampling/options';
import { Sampler } from '../../../lib/sampling/sampler';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

const BYTES = { vocabSize: 256 };

async function sampler(config: Partial<GPT2Options> = {}): Promise<Sampler> {
  return new Sampler(await tinyModel({ ...BYTES, ...config }), new ByteTokenizer());
}

/** The tokens that a greedy sampler must choose, from full forward passes over the same context. */
async function greedy(model: Model, prompt: readonly number[], count: number): Promise<number[]> {
  const { nPositions, vocabSize } = tokenSettings(model.config)!;
  let context = prompt.length > nPositions ? prompt.slice(-nPositions / 2) : [...prompt];
  const chosen: number[] = [];
  while (chosen.length < count) {
    if (context.length > nPositions) context = context.slice(-nPositions / 2);
    const { data } = await model.logits([context]);
    const last = data.subarray(data.length - vocabSize);
    const best = last.indexOf(Math.max(...last));
    chosen.push(best);
    context.push(best);
  }
  return chosen;
}

describe('Sampler', () => {
  it('at temperature 0 chooses the likeliest token, also beyond the end of the context', async () => {
    const one = await sampler();
    for (const prompt of ['a', 'hello world', '0123456789abcdef', '0123456789abcdef0123']) {
      const { tokens, text, finishReason } = await one.generate(prompt, { maxNewTokens: 40, temperature: 0 });
      const expected = await greedy(one.model, [...(await one.tokenizer.encode(prompt))], 40);
      expect([...tokens]).toEqual(expected);
      expect(text).toBe(one.tokenizer.decode(expected));
      expect(finishReason).toBe('length');
    }
  });

  it('at the ends of what options may be chooses the likeliest token', async () => {
    const one = await sampler();
    const { tokens } = await one.generate('a', { maxNewTokens: 30, temperature: 0 });
    for (const options of [
      { temperature: 2 ** -126 },
      { temperature: 2 ** -126, topP: 0.9, topK: 16_777_216, minP: 0.5 },
      { temperature: 2 ** -126, topP: 2 ** -126 },
      { minP: 1 },
      { topP: 2 ** -126 },
      { temperature: 1e6, topK: 1 },
    ])
      expect((await one.generate('a', { maxNewTokens: 30, seed: 1, ...options })).tokens).toEqual(tokens);
  });

  it('repeats itself with a seed for any length, and varies without one', async () => {
    const one = await sampler();
    const draw = async (options: GenerateOptions): Promise<number[]> => [
      ...(await one.generate('x', { maxNewTokens: 50, ...options })).tokens,
    ];
    const first = await draw({ seed: 1 });
    expect(first).toHaveLength(50);
    expect(await draw({ seed: 1 })).toEqual(first);
    expect(await draw({ seed: 1, maxNewTokens: 21 })).toEqual(first.slice(0, 21));
    expect(await draw({ seed: 2 })).not.toEqual(first);
    expect(await draw({})).not.toEqual(await draw({}));
  });

  it('streams what generate returns', async () => {
    const one = await sampler();
    const options = { maxNewTokens: 60, seed: 3 };
    const whole = await one.generate('x', options);
    const tokens: number[] = [];
    let text = '';
    for await (const piece of one.stream('x', options)) {
      tokens.push(piece.token);
      text += piece.text;
    }
    expect(tokens).toEqual([...whole.tokens]);
    expect(text).toBe(whole.text);
  });

  it('can be left in the middle of a stream', async () => {
    const one = await sampler();
    for await (const { token } of one.stream('x', { seed: 1 })) {
      expect(token).toBeGreaterThanOrEqual(0);
      break;
    }
    expect((await one.generate('x', { seed: 1, maxNewTokens: 1 })).tokens).toHaveLength(1);
  });

  it('reads an empty prompt as a newline, and token ids as they are', async () => {
    const one = await sampler();
    const draw = async (prompt: string | ArrayLike<number>): Promise<number[]> => [
      ...(await one.generate(prompt, { maxNewTokens: 5, seed: 1 })).tokens,
    ];
    expect(await draw('')).toEqual(await draw('\n'));
    expect(await draw(new Int32Array())).toEqual(await draw(Int32Array.of(10)));
    const { value } = await one.stream([], { temperature: 0 }).next();
    expect(value).toMatchObject({ token: (await greedy(one.model, [10], 1))[0] });
  });

  it('ends before a stop text', async () => {
    const one = await sampler();
    const { text } = await one.generate('x', { maxNewTokens: 60, seed: 5 });
    const stop = text.slice(8, 10);
    const stopped = await one.generate('x', { maxNewTokens: 60, seed: 5, stop: ['never seen', stop] });
    expect(stopped.finishReason).toBe('stop');
    expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
    expect(one.tokenizer.decode(stopped.tokens)).toContain(stop);
  });

  it('keeps an end that only looked like the start of a stop text', async () => {
    const one = await sampler();
    const options = { maxNewTokens: 30, seed: 5 };
    const { text } = await one.generate('x', options);
    const stop = `${text.at(-1) ?? ''} and no more`;
    expect(await one.generate('x', { ...options, stop })).toMatchObject({ text, finishReason: 'length' });
  });

  it('returns what there is when it is aborted', async () => {
    const one = await sampler();
    const early = await one.generate('x', { signal: AbortSignal.abort() });
    expect(early).toMatchObject({ text: '', finishReason: 'abort' });
    const abort = new AbortController();
    const stream = one.stream('x', { signal: abort.signal, maxNewTokens: 50 });
    await stream.next();
    abort.abort();
    expect(await stream.next()).toEqual({ done: true, value: 'abort' });
  });

  it('refuses options that make no sense', async () => {
    const one = await sampler();
    const refused: [object, string, RegExp][] = [
      [{ maxNewTokens: 0 }, 'maxNewTokens', /from 1/],
      [{ temperature: -1 }, 'temperature', /-1/],
      [{ seed: 0.5 }, 'seed', /0.5/],
      [
        { seed: 2 ** 53 },
        'seed',
        /^seed must be an integer from 0 to 9007199254740991, not 9007199254740992$/,
      ],
      [{ stop: '' }, 'stop', /stop/],
      [{ maxTokens: 3 }, 'maxTokens', /did you mean maxNewTokens/],
      [{ n: 2 }, 'n', /did you mean numReturnSequences/],
      [{ numReturnSequences: 2 }, 'numReturnSequences', /generate\(\[prompt\]/],
      [{ minNewTokens: 300 }, 'minNewTokens', /more than maxNewTokens 256/],
      [{ topP: 0 }, 'topP', /above 0/],
      [{ topK: -1 }, 'topK', /-1/],
      [{ minP: 2 }, 'minP', /from 0 to 1/],
      [{ repetitionPenalty: 0 }, 'repetitionPenalty', /above 0/],
      [{ logprobs: 21 }, 'logprobs', /20/],
      [{ eosTokenId: 256 }, 'eosTokenId', /256.*0 to 255/],
      [{ stopTokens: [1, 999] }, 'stopTokens', /999/],
      [{ suppressTokens: [-1] }, 'suppressTokens[0]', /-1/],
      [{ logitBias: { 3: 1 } }, 'logitBias', /Map/],
      [{ logitBias: new Map([[3, NaN]]) }, 'logitBias', /token 3 is NaN/],
      [{ logitBias: new Map([[300, 1]]) }, 'logitBias', /300/],
      [{ allowedTokens: new Map([[3, []]]) }, 'allowedTokens', /position 3.*at least one/],
      [{ allowedTokens: new Map([[-3, [1]]]) }, 'allowedTokens', /position -3/],
      [{ forcedTokens: new Map([[3, 256]]) }, 'forcedTokens', /256/],
      [
        { forcedTokens: new Map([[3, 5]]), allowedTokens: new Map([[3, [4]]]) },
        'forcedTokens',
        /allowedTokens does not allow/,
      ],
      [{ tokenMask: true }, 'tokenMask', /function/],
      [{ types: { byToken: [] } }, 'types', /the model has none/],
      [{ numBeams: 2, temperature: 0.5 }, 'temperature', /beam search/],
      [{ numBeams: 2, logprobs: 1 }, 'logprobs', /beam search/],
      [{ temperature: 1e-50 }, 'temperature', /and 0 or at least 1\.18e-38, .* not 1e-50/],
      [{ topP: 1e-40 }, 'topP', /above 0 to 1, and at least 1\.18e-38, .* not 1e-40/],
      [{ minP: 1e-50 }, 'minP', /0 or at least 1\.18e-38, .* not 1e-50/],
      [{ repetitionPenalty: 1e-50 }, 'repetitionPenalty', /at least 1\.18e-38, .* not 1e-50/],
      [{ presencePenalty: -1e-50 }, 'presencePenalty', /0 or at least 1\.18e-38, .* not -1e-50/],
      [{ logitBias: new Map([[3, -1e39]]) }, 'logitBias', /token 3 is -1e\+39.*-3\.4e38/],
      [{ maxNewTokens: 1e12 }, 'maxNewTokens', /to 10000000/],
      [{ topK: 2 ** 31 }, 'topK', /to 16777216/],
      [{ seed: -1 }, 'seed', /-1/],
      [{ numBeams: 100 }, 'numBeams', /from 1 to 64/],
      [{ numBeams: 40, eosTokenId: [1, 2, 3] }, 'numBeams', /at most 32/],
    ];
    for (const [options, where, message] of refused) {
      const failure = await failureOf('ERR_CONFIG', () => one.generate('x', options));
      expect(failure.details['path']).toBe(where);
      expect(failure.message).toMatch(message);
    }
    await failureOf('ERR_DATA', () => one.generate([256]));
    await failureOf('ERR_DATA', () => one.generate([1.5]));
  });

  it('refuses prompts that are neither text nor token ids, and options that are no object', async () => {
    const one = await sampler();
    const wrong: [unknown, string][] = [
      [5, 'the prompt is 5'],
      [{}, 'the prompt is an object'],
      [undefined, 'the prompt is undefined'],
      [null, 'the prompt is null'],
      [[5n], 'prompts[0] is a bigint'],
      [['a', 5], 'prompts[1] is 5'],
      [['a', [97, 'b']], "token 1 of prompts[1] is 'b'"],
      [BigInt64Array.of(5n), 'token 0 of the prompt is a bigint'],
    ];
    for (const [prompt, what] of wrong)
      for (const numBeams of [1, 2]) {
        const { message } = await failureOf('ERR_DATA', () =>
          one.generate(prompt as string, { numBeams, maxNewTokens: 2 }),
        );
        expect(message).toContain(what);
      }
    await failureOf('ERR_DATA', () => one.stream(5 as never).next());
    for (const options of [null, 5, 'fast', []]) {
      const failure = await failureOf('ERR_CONFIG', () => one.generate('a', options as never));
      expect(failure.message).toMatch(/^options must be an object, not /);
      await failureOf('ERR_CONFIG', () => one.stream('a', options as never).next());
    }
  });

  it('refuses an empty prompt when the tokenizer has no start token', async () => {
    const { model, tokenizer } = await sampler();
    const silent = {
      name: 'silent',
      vocabSize: 256,
      encode: (text: string) => tokenizer.encode(text),
      decode: (ids: ArrayLike<number>) => tokenizer.decode(ids),
      decoder: () => tokenizer.decoder(),
    };
    const { message } = await failureOf('ERR_DATA', () => new Sampler(model, silent).generate(''));
    expect(message).toMatch(/no start token/);
  });

  it('takes and gives token ids as text without a tokenizer', async () => {
    const { model } = await sampler();
    const one = new Sampler(model);
    const options = { maxNewTokens: 3, temperature: 0 };
    const made = await one.generate('7 250', options);
    expect(made.text).toBe([...made.tokens].map((id) => ` ${id}`).join(''));
    expect((await one.generate([7, 250], options)).tokens).toEqual(made.tokens);
    await failureOf('ERR_DATA', () => one.generate('7 256'));
    await failureOf('ERR_DATA', () => one.generate('seven'));
  });

  it('refuses models that do not continue texts', async () => {
    const { message } = await failureOf('ERR_CONFIG', () => sampler({ vocabSize: 97 }));
    expect(message).toMatch(
      /256 tokens.*vocabSize 97: the model lacks "a" \(97\), "b" \(98\), .* and 149 more/,
    );
    await failureOf('ERR_CONFIG', () => sampler({ isEncoder: true }));
  });

  it('refuses two generations at once, and a model that was disposed', async () => {
    const one = await sampler();
    const first = one.generate('x', { maxNewTokens: 200 });
    await failureOf('ERR_BUSY', () => one.generate('y', { maxNewTokens: 200 }));
    await first;
    one.model.dispose();
    await failureOf('ERR_DISPOSED', () => one.generate('x'));
  });
});
