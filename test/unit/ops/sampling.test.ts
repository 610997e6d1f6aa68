import { gpt2 } from '../../../lib/models/gpt2';
import type { NativeModel } from '../../../lib/native';
import { choose } from '../../oracles/choose';
import { randomWeights } from '../support/gpt2_cases';
import { groupedModel } from '../support/grouped_model';
import { withModel, writeParameters } from '../support/native';
import { padded, sessionOf, settingsOf } from '../support/sampling';

const vocabSize = 61;
const graph = gpt2({ vocabSize, nPositions: 24, nEmbd: 30, nHead: 3, nLayer: 2, attnPdrop: 0.1 });
const weights = randomWeights(graph);

/** Logits after the last of `tokens`, computed from scratch. */
async function nextLogits(model: NativeModel, tokens: readonly number[]): Promise<ArrayLike<number>> {
  const { outputs } = await model.run(
    { mode: 'eval', rows: 1, lengths: { time: tokens.length }, outputs: ['logits'] },
    { tokens: Int32Array.from(tokens) },
  );
  return outputs['logits']!.data.subarray((tokens.length - 1) * vocabSize);
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
    const session = await sessionOf(model, temperatures, { seeds });
    await session.prefill(...padded(prompts));
    const decoded = [...(await session.decode(4)).tokens, ...(await session.decode(6)).tokens];
    const steps = Array.from({ length: 10 }, (_, i) => decoded.slice(3 * i, 3 * i + 3));
    session.dispose();

    for (const [row, prompt] of prompts.entries()) {
      const tokens = [...prompt];
      for (const [step, next] of steps.entries()) {
        const logits = await nextLogits(model, tokens);
        const options = { temperature: temperatures[row]!, seed: seeds[row]!, step, site: 'choose' };
        const { token, margin } = choose(logits, options);
        // Skip draws that rounding could decide either way.
        expect(margin).toBeGreaterThan(1e-4);
        expect({ row, step, token: next[row] }).toEqual({ row, step, token });
        tokens.push(token);
      }
    }
  });
});

test('a prompt in two pieces samples the same as the whole prompt', async () => {
  await withModel(graph, {}, async (model) => {
    await writeParameters(model, weights);
    const whole = await sessionOf(model, [0]);
    const pieces = await sessionOf(model, [0]);
    const prompt = [5, 9, 33, 2, 60, 14];
    await whole.prefill(...padded([prompt]));
    await pieces.prefill(...padded([prompt.slice(0, 4)]));
    await pieces.prefill(...padded([prompt.slice(4)]));
    expect((await pieces.decode(5)).tokens).toEqual((await whole.decode(5)).tokens);
    whole.dispose();
    pieces.dispose();
  });
});

test('a finished row stays unchanged and says why', async () => {
  await withModel(graph, {}, async (model) => {
    await writeParameters(model, weights);
    const free = await sessionOf(model, [0, 0, 0]);
    await free.prefill(...padded([[3], [4], [5]]));
    const { tokens } = await free.decode(8);
    const row = (index: number): number[] => [...tokens].filter((_, i) => i % 3 === index);
    free.dispose();
    const end = row(1)[2]!;
    const settings = [4, 100, 100].map((maxNewTokens) => settingsOf({ temperature: 0, maxNewTokens }));
    const session = await sessionOf(model, [0, 0, 0], { cache: 12, settings, endTokens: [end] });
    await session.prefill(...padded([[3], [4], [5]]));
    const visits = [await session.decode(8), await session.decode(8)];
    session.dispose();
    const all = visits.flatMap((visit) => [...visit.tokens]);
    const got = (index: number): number[] => all.filter((id, i) => i % 3 === index && id >= 0);
    const upTo = (ids: readonly number[]): number[] =>
      ids.includes(end) ? ids.slice(0, ids.indexOf(end) + 1) : [...ids];
    expect(got(0)).toEqual(upTo(row(0).slice(0, 4)));
    expect(got(1)).toEqual(upTo(row(1)));
    // The prompt takes the first of twelve positions; the last token needs none.
    expect(got(2).length).toBe(upTo(got(2)).length);
    if (!row(2).includes(end)) expect(got(2)).toHaveLength(12);
    expect(visits[1]!.finished[1]).toBe('end');
    expect(all.every((id) => id >= -1 && id < vocabSize)).toBe(true);
  });
});

const long = { vocabSize, nPositions: 300, nEmbd: 30 };

test.each([
  ['keys and values are found on every page of the cache', gpt2({ ...long, nHead: 3, nLayer: 2 })],
  ['also those that heads share', groupedModel({ ...long, heads: 6, kvHeads: 2, headDim: 10 })],
  ['also that of all heads', groupedModel({ ...long, heads: 3, kvHeads: 1, headDim: 8 })],
])('%s', async (_, graph) => {
  await withModel(graph, {}, async (model) => {
    await writeParameters(model, randomWeights(graph));
    const prompts = [Array.from({ length: 125 }, (_, i) => (i * 7) % vocabSize), [4], [9, 2]];
    const session = await sessionOf(model, [0, 0, 0], { cache: 300 });
    await session.prefill(...padded(prompts));
    const chosen = [await session.decode(50), await session.decode(64), await session.decode(50)].flatMap(
      ({ tokens }) => [...tokens],
    );
    session.dispose();
    for (const [row, prompt] of prompts.entries()) {
      const all = [...prompt, ...chosen.filter((_, i) => i % 3 === row)];
      const { outputs } = await model.run(
        { mode: 'eval', rows: 1, lengths: { time: all.length }, outputs: ['logits'] },
        { tokens: Int32Array.from(all) },
      );
      for (let at = prompt.length; at < all.length; at++) {
        const logits = outputs['logits']!.data.subarray((at - 1) * vocabSize, at * vocabSize);
        // The likeliest, except where rounding decides.
        expect(logits[all[at]!]).toBeGreaterThan(Math.max(...logits) - 1e-4);
      }
    }
  });
});

describe('refused', () => {
  test.each([
    ['more positions than the model has', { cache: 25 }],
    ['no positions', { cache: 0 }],
    ['settings too few', { rows: 2, seeds: [0, 0] }],
    ['a negative temperature', { settings: [settingsOf({ temperature: -1 })] }],
    ['a temperature that is not a number', { settings: [settingsOf({ temperature: NaN })] }],
    ['a seed that is not an integer', { seeds: [1.5] }],
    ['an end token beyond the vocabulary', { endTokens: [61] }],
    ['a bias of another vocabulary', { features: { bias: true }, arrays: { bias: new Float32Array(60) } }],
    ['sets that are not there', { features: { sets: 1 } }],
    [
      'a set that is not there',
      {
        cache: 2,
        features: { sets: 2 },
        arrays: { sets: new Int32Array(2), setAt: Int32Array.of(0, 1, 0) },
      },
    ],
    ['more likeliest tokens than are kept', { features: { logProbs: 129 } }],
  ])('%s', async (_, options) => {
    await withModel(graph, {}, async (model) => {
      await expect(sessionOf(model, [0], options)).rejects.toMatchObject({ code: 'ERR_CONFIG' });
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
      const session = await sessionOf(model, [0], { cache: 8 });
      const prefill = session.prefill(Int32Array.from(tokens), Int32Array.from(lengths));
      await expect(prefill).rejects.toMatchObject({ code: 'ERR_DATA' });
      session.dispose();
    });
  });

  test('decoding without a prompt, a prompt after decoding, a mask of another size', async () => {
    await withModel(graph, {}, async (model) => {
      const session = await sessionOf(model, [0], { features: { mask: true } });
      const refused = { code: 'ERR_DATA' };
      await expect(session.forward()).rejects.toMatchObject(refused);
      await expect(session.decode(1)).rejects.toMatchObject(refused);
      await session.prefill(Int32Array.of(1, 2, 3), Int32Array.of(3));
      await expect(session.decode(1, new Uint32Array(1))).rejects.toMatchObject(refused);
      await expect(session.decode(2, new Uint32Array(2))).rejects.toMatchObject(refused);
      expect(await session.decode(1, new Uint32Array(2))).toMatchObject({ finished: ['none'] });
      session.dispose();
      const other = await sessionOf(model, [0]);
      await other.prefill(Int32Array.of(1, 2, 3), Int32Array.of(3));
      await other.decode(1);
      await expect(other.prefill(Int32Array.of(1), Int32Array.of(1))).rejects.toMatchObject(refused);
      other.dispose();
      await expect(other.decode(1)).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    });
  });
});
