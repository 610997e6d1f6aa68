import { TextSource } from '../../../lib/data/text_source';
import { packed } from '../support/batches';
import { failureOf } from '../support/errors';

/** Bytes that encode their own positions. */
const ramp = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i % 251);

const request = { seed: 5, step: 3, microStep: 0, rows: 4 };

describe('TextSource', () => {
  it("takes the validation part from the text's end", () => {
    expect(new TextSource(ramp(100), 4, 0.25).sizes).toEqual({ train: 75, validation: 25 });
    expect(new TextSource(ramp(100), 4, 0).sizes).toEqual({ train: 100, validation: 0 });
  });

  it('crops rows whose targets are the next tokens, within the part', () => {
    const source = new TextSource(ramp(200), 8, 0.25);
    for (let step = 0; step < 50; step++) {
      const { tokens, targets, rows } = packed(source.batch('train', { ...request, step }));
      expect(rows).toBe(4);
      expect(tokens).toHaveLength(32);
      for (let r = 0; r < 4; r++) {
        const first = tokens[r * 8] ?? NaN;
        expect([...tokens.subarray(r * 8, r * 8 + 8)]).toEqual(
          Array.from({ length: 8 }, (_, i) => first + i),
        );
        expect([...targets.subarray(r * 8, r * 8 + 8)]).toEqual(
          Array.from({ length: 8 }, (_, i) => first + 1 + i),
        );
        expect(targets[r * 8 + 7]).toBeLessThan(150);
      }
    }
  });

  it('can reach every crop, the first and the last too', () => {
    const source = new TextSource(ramp(12), 8, 0);
    const firsts = Array.from(
      { length: 100 },
      (_, step) => packed(source.batch('train', { ...request, step })).tokens[0],
    );
    expect(new Set(firsts)).toEqual(new Set([0, 1, 2, 3]));
  });

  it('draws a row by its sample index, however the step is cut into micro-batches', () => {
    const source = new TextSource(ramp(200), 8, 0);
    const whole = packed(source.batch('train', request)).tokens;
    const halves = [0, 1].map(
      (microStep) => packed(source.batch('train', { ...request, rows: 2, microStep })).tokens,
    );
    expect([...whole]).toEqual(halves.flatMap((half) => [...half]));
    expect([...packed(source.batch('train', request)).tokens]).toEqual([...whole]);
    expect([...packed(source.batch('train', { ...request, seed: 6 })).tokens]).not.toEqual([...whole]);
    expect([...packed(source.batch('train', { ...request, step: 4 })).tokens]).not.toEqual([...whole]);
  });

  it('gives windows that do not overlap, all of them when there is room', () => {
    const source = new TextSource(ramp(42), 8, 0);
    const first = source.evaluationBatch('train', { index: 0, rows: 3, batches: 10 });
    expect([...packed(first).tokens].filter((_, i) => i % 8 === 0)).toEqual([0, 8, 16]);
    const second = packed(source.evaluationBatch('train', { index: 1, rows: 3, batches: 10 }));
    expect(second).toMatchObject({ rows: 2, capacity: { rows: 3, lengths: { time: 8 } } });
    expect([...second.tokens].filter((_, i) => i % 8 === 0)).toEqual([24, 32]);
    expect(second.targets.at(-1)).toBe(40);
    expect(source.evaluationBatch('train', { index: 2, rows: 3, batches: 10 })).toBeUndefined();
  });

  it('spreads fewer windows over the whole part', () => {
    const source = new TextSource(ramp(81), 8, 0);
    const firsts = [0, 1].map(
      (index) => packed(source.evaluationBatch('train', { index, rows: 1, batches: 2 })).tokens[0],
    );
    expect(firsts).toEqual([0, 40]);
    expect(source.evaluationBatch('train', { index: 2, rows: 1, batches: 2 })).toBeUndefined();
  });

  it.each([
    [9, 0, 10],
    [50, 0.1, 100],
    [17, 0.5, 20],
    [50, 0.9, 91],
  ])(
    'says how long a text of %p bytes must be with validationFraction %p: %p',
    async (length, fraction, needed) => {
      const { message, details } = await failureOf(
        'ERR_DATA',
        () => new TextSource(ramp(length), 9, fraction),
      );
      expect(message).toContain(`has ${length} tokens`);
      expect(message).toContain(`at least ${needed}`);
      expect(details['needed']).toBe(needed);
      expect(() => new TextSource(ramp(needed), 9, fraction)).not.toThrow();
      expect(() => new TextSource(ramp(needed - 1), 9, fraction)).toThrow();
    },
  );
});
