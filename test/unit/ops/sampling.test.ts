import { gpt2 } from '../../../lib/models/gpt2';
import type { NativeModel } from '../../../lib/native';
import { choose } from '../../oracles/choose';
import { randomWeights } from '../support/gpt2_cases';
import { withModel, writeParameters } from '../support/native';

const vocabSize = 61;
const graph = gpt2({ vocabSize, nPositions: 24, nEmbd: 30, nHead: 3, nLayer: 2, attnPdrop: 0.1 });
const weights = randomWeights(graph);

/** Logits after the last of `tokens`, computed from scratch. */
async function nextLogits(model: NativeModel, tokens: readonly number[]): Promise<ArrayLike<number>> {
  const { outputs } = await model.run(
    { mode: 'eval', rows: 1, time: tokens.length, outputs: ['logits'] },
    { tokens: Int32Array.from(tokens) },
  );
  return outputs['logits']!.data.subarray((tokens.length - 1) * vocabSize);
}

/** Prompts as the capacity that prefill takes: rows of the longest length, with any id behind a shorter row. */
function padded(prompts: readonly (readonly number[])[]): [tokens: Int32Array, lengths: Int32Array] {
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const rows = prompts.map((prompt) => [...prompt, ...Array<number>(longest - prompt.length).fill(7)]);
  return [Int32Array.from(rows.flat()), Int32Array.from(prompts, (prompt) => prompt.length)];
}

const prompts = [[3], [1, 2, 3, 4, 5, 6, 7], [60, 0, 60]];

test.each([
  ['greedy', [0, 0, 0]],
  ['at temperatures', [1, 0.7, 2]],
  ['mixed', [0, 1, 0]],
])('a session samples what its logits and seeds say: %s', async (_, temperatures) => {
  await withModel(graph, {}, async (model) => {
    await writeParameters(model, weights);
    const seeds = [11, 12, 2 ** 40 + 5];
    const session = await model.createSession({ rows: 3, cache: 24, temperatures, seeds });
    const steps = [await session.prefill(...padded(prompts))];
    const decoded = await session.decode(9);
    for (let i = 0; i < 9; i++) steps.push(decoded.subarray(3 * i, 3 * i + 3));
    session.dispose();

    for (const [row, prompt] of prompts.entries()) {
      const tokens = [...prompt];
      for (const [step, next] of steps.entries()) {
        const logits = await nextLogits(model, tokens);
        const options = { temperature: temperatures[row]!, seed: seeds[row]!, step, site: 'choose' };
        const { token, margin } = choose(logits, options);
        // A draw that rounding could decide otherwise would say nothing.
        expect(margin).toBeGreaterThan(1e-4);
        expect({ row, step, token: next[row] }).toEqual({ row, step, token });
        tokens.push(token);
      }
    }
  });
});

test('a prompt in two pieces samples what the whole prompt does', async () => {
  await withModel(graph, {}, async (model) => {
    await writeParameters(model, weights);
    const options = { rows: 1, cache: 24, temperatures: [0], seeds: [0] };
    const whole = await model.createSession(options);
    const pieces = await model.createSession(options);
    const prompt = [5, 9, 33, 2, 60, 14];
    const expected = await whole.prefill(...padded([prompt]));
    await pieces.prefill(...padded([prompt.slice(0, 4)]));
    expect(await pieces.prefill(...padded([prompt.slice(4)]))).toEqual(expected);
    expect(await pieces.decode(5)).toEqual(await whole.decode(5));
    whole.dispose();
    pieces.dispose();
  });
});

describe('refused', () => {
  const sessionOf = async (
    model: NativeModel,
    options: object = {},
  ): ReturnType<NativeModel['createSession']> =>
    model.createSession({ rows: 1, cache: 8, temperatures: [0], seeds: [0], ...options });

  test.each([
    ['more positions than the model has', { cache: 25 }],
    ['no positions', { cache: 0 }],
    ['a temperature too few', { rows: 2 }],
    ['a negative temperature', { temperatures: [-1] }],
    ['a temperature that is not a number', { temperatures: [NaN] }],
    ['a seed that is not an integer', { seeds: [1.5] }],
  ])('%s', async (_, options) => {
    await withModel(graph, {}, async (model) => {
      await expect(sessionOf(model, options)).rejects.toMatchObject({ code: 'ERR_CONFIG' });
    });
  });

  test.each([
    ['a token out of range', [61], [1]],
    ['a negative token', [-1], [1]],
    ['a prompt longer than the cache', Array<number>(9).fill(1), [9]],
    ['a length beyond the prompt', [1, 2], [3]],
    ['a length of nothing', [1, 2], [0]],
  ])('%s', async (_, tokens, lengths) => {
    await withModel(graph, {}, async (model) => {
      const session = await sessionOf(model);
      const prefill = session.prefill(Int32Array.from(tokens), Int32Array.from(lengths));
      await expect(prefill).rejects.toMatchObject({ code: 'ERR_DATA' });
      session.dispose();
    });
  });

  test('decoding without a prompt, and beyond the cache', async () => {
    await withModel(graph, {}, async (model) => {
      const session = await sessionOf(model);
      await expect(session.decode(1)).rejects.toMatchObject({ code: 'ERR_DATA' });
      await session.prefill(Int32Array.of(1, 2, 3), Int32Array.of(3));
      await session.decode(5);
      await expect(session.decode(1)).rejects.toMatchObject({ code: 'ERR_DATA' });
      session.dispose();
      await expect(session.decode(1)).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    });
  });
});
