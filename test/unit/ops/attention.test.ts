import { attentionCase } from '../support/cases';
import { checkCase, runNative } from '../support/native';

describe.each([true, false])('causal %s', (causal) => {
  test.each([
    [1, 1, 1, 1],
    [1, 3, 2, 7],
    [2, 17, 3, 8],
    [1, 113, 2, 68],
    [2, 199, 1, 32],
    [3, 64, 4, 16],
  ])('rows %d, time %d, heads %d of %d', async (rows, time, heads, headDim) => {
    await checkCase(attentionCase({ rows, time, heads, headDim, causal }));
  });

  test('lengths: zeros beyond a row, also in a row of none', async () => {
    await checkCase(attentionCase({ rows: 7, time: 29, heads: 2, headDim: 12, causal, lengths: true }));
  });

  test('a scale of its own', async () => {
    await checkCase(attentionCase({ rows: 2, time: 19, heads: 2, headDim: 16, causal, scale: 1 }), {
      slack: 2,
    });
  });

  test('rare large values', async () => {
    // Scores of some tens: exp(s − max) turns the rounding of s, |s| · 2⁻²⁴, into relative error.
    const one = attentionCase({ rows: 2, time: 65, heads: 2, headDim: 64, causal, outliers: true });
    await checkCase(one, { separate: true, slack: 4 });
  });

  test('dropout on the probabilities, and the same mask in the backward pass', async () => {
    await checkCase(attentionCase({ rows: 3, time: 37, heads: 2, headDim: 8, causal, dropout: 0.2 }));
  });
});

test('one head of a long row, and many rows: the same numbers on one thread and on two', async () => {
  for (const [rows, time, heads] of [
    [1, 203, 1],
    [6, 33, 2],
  ] as const) {
    const one = attentionCase({ rows, time, heads, headDim: 24, causal: true });
    expect(await runNative(one, { threads: 2 })).toEqual(await runNative(one, { threads: 1 }));
  }
});

test('evaluation drops no probability', async () => {
  const one = attentionCase({ rows: 2, time: 9, heads: 2, headDim: 8, causal: true, dropout: 0.5 });
  await checkCase(one, { eval: true });
});
