import fc from 'fast-check';
import { boundary, segmentsOf } from '../../../../lib/data/prepare/segments';

const cutAt = (text: string, at: number, most?: number): number => {
  const bytes = Buffer.from(text);
  return boundary({ bytes, base: 0, length: bytes.length }, at, most);
};

describe('boundary', () => {
  it.each<[string, string, number, number]>([
    ['the end of a line', 'ab\ncd\nef', 1, 3],
    ['the offset itself', 'ab\ncd\nef', 3, 3],
    ['no line end beside spaces, when there is another', 'ab\n\ncd\n ef \ngh\nij', 1, 15],
    ['a line end beside spaces, when there is no other', 'ab\r\n\r\ncd', 1, 4],
    ['the end of a text without further line ends', 'ab\ncdef', 4, 7],
    ['the beginning', 'ab\ncd', 0, 0],
    ['the end', 'ab\ncd', 9, 5],
  ])('takes %s', (_what, text, at, expected) => {
    expect(cutAt(text, at)).toBe(expected);
  });

  it('cuts at a character if no line end is near', () => {
    const text = '😀'.repeat(10);
    expect([4, 5, 6, 7, 8].map((at) => cutAt(text, at, 8))).toEqual([4, 8, 8, 8, 8]);
  });

  it('finds the same place in any part of the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', ' ', '\n', '\r', 'é') }), fc.nat(80), (text, at) => {
        const bytes = Buffer.from(text);
        if (at < 2 || at > bytes.length) return;
        const part = { bytes: bytes.subarray(at - 2, at + 8), base: at - 2, length: bytes.length };
        expect(boundary(part, at, 8)).toBe(cutAt(text, at, 8));
      }),
      { seed: 3, numRuns: 500 },
    );
  });
});

describe('segmentsOf', () => {
  const files = [
    { path: 'a', kind: 'text', bytes: 250 },
    { path: 'b', kind: 'jsonl', bytes: 0 },
    { path: 'c', kind: 'jsonl', bytes: 150 },
  ] as const;
  const told = (fraction: number): string[] =>
    [...segmentsOf(files, fraction, 100)].map(
      ({ path, from, to, part, endsDocument }) => `${path} ${from}-${to} ${part}${endsDocument ? '.' : ''}`,
    );

  it('covers all bytes, in order', () => {
    expect(told(0)).toEqual([
      ...['a 0-100 train', 'a 100-200 train', 'a 200-250 train.', 'c 0-100 train', 'c 100-150 train.'],
    ]);
  });

  it('keeps the last share of all bytes for validation, as documents of its own', () => {
    expect(told(0.5)).toEqual([
      ...['a 0-100 train', 'a 100-200 train.', 'a 200-250 validation.'],
      ...['c 0-100 validation', 'c 100-150 validation.'],
    ]);
  });
});
