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

  test('lengths: zeros beyond the end of a row, also in an empty row', async () => {
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

/** Documents of one token, and boundaries on and beside multiples of 16, 32 and 64; the last rows are one document. */
const documents = [
  [0, 1, 2, 3, 16, 63, 64, 65, 130],
  [0, 15, 32, 33, 64, 96, 128, 160, 192],
  [0, 70, 71, 198],
  [0],
  [0, 198],
];

describe.each([true, false])('documents, causal %s', (causal) => {
  test.each([
    [5, 199, 2, 16],
    [3, 257, 1, 68],
    [1, 4, 1, 8],
  ])('rows %d, time %d, heads %d of %d', async (rows, time, heads, headDim) => {
    await checkCase(attentionCase({ rows, time, heads, headDim, causal, documents }));
  });

  test('each token a document: a query gets its own value', async () => {
    const each = [Array.from({ length: 70 }, (_, t) => t)];
    const one = attentionCase({ rows: 2, time: 70, heads: 2, headDim: 8, causal, documents: each });
    await checkCase(one);
    const qkv = one.given.get('qkv')!.data;
    const own = Array.from({ length: 2 * 70 * 16 }, (_, i) => qkv[Math.floor(i / 16) * 48 + 32 + (i % 16)]!);
    expect(Array.from((await runNative(one)).value)).toEqual(own);
  });

  test('lengths', async () => {
    await checkCase(
      attentionCase({ rows: 9, time: 199, heads: 1, headDim: 12, causal, lengths: true, documents }),
    );
  });

  test('dropout draws by position in the row', async () => {
    await checkCase(
      attentionCase({ rows: 3, time: 199, heads: 2, headDim: 8, causal, dropout: 0.2, documents }),
    );
  });

  test('one document is a row without any, bit for bit', async () => {
    const sizes = { rows: 2, time: 150, heads: 2, headDim: 24, causal };
    const plain = attentionCase(sizes);
    const { graph, given } = attentionCase({ ...sizes, documents: [[0]] });
    const starts = given.get('starts')!;
    const one = { ...plain, graph, given: new Map([...plain.given, ['starts', starts]]) };
    expect(await runNative(one)).toEqual(await runNative(plain));
  });
});

test('one head of a long row, and many rows: the same numbers on one thread and on two', async () => {
  for (const [rows, time, heads] of [
    [1, 203, 1],
    [6, 33, 2],
  ] as const) {
    for (const more of [{}, { documents }]) {
      const one = attentionCase({ rows, time, heads, headDim: 24, causal: true, ...more });
      expect(await runNative(one, { threads: 2 })).toEqual(await runNative(one, { threads: 1 }));
    }
  }
});

test('evaluation drops no probability', async () => {
  const one = attentionCase({ rows: 2, time: 9, heads: 2, headDim: 8, causal: true, dropout: 0.5 });
  await checkCase(one, { eval: true });
});
