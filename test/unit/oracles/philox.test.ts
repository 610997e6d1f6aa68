import { dropout } from '../../oracles/dropout';
import { tensor } from '../../oracles/tensor';
import { atStart, dropoutFactor, hashName, philox, uniform01 } from '../../oracles/philox';

describe('Philox4x32-10', () => {
  // The known-answer file of Random123 (Salmon et al. 2011), examples/kat_vectors.
  test.each([
    ['zeros', 0n, [0, 0, 0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [
      'ones',
      0xffffffffffffffffn,
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      '408f276d 41c83b0e a20bc7c6 6d5451fd',
    ],
    [
      'the digits of π',
      0x299f31d0a4093822n,
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ] as const)('known answer: %s', (_, key, counter, expected) => {
    const words = philox(key, [...counter] as [number, number, number, number]);
    expect(words.map((word) => word.toString(16).padStart(8, '0')).join(' ')).toBe(expected);
  });

  test('uniform numbers lie in [0, 1)', () => {
    expect(uniform01(0)).toBe(0);
    expect(uniform01(0xffffffff)).toBe(1 - 2 ** -24);
  });
});

describe('hashName', () => {
  test('is FNV-1a with a mixing step', () => {
    // FNV-1a of the empty name is its offset basis.
    const basis = 0xcbf29ce484222325n;
    const mixed = BigInt.asUintN(64, (basis ^ (basis >> 33n)) * 0xff51afd7ed558ccdn);
    expect(hashName('')).toBe(mixed ^ (mixed >> 33n));
  });

  test('differs between names and hashes UTF-8 bytes', () => {
    expect(new Set(['a', 'b', 'ab', 'ba', 'ä'].map(hashName)).size).toBe(5);
  });
});

describe('dropoutFactor', () => {
  test('keeps 1 − p of the elements, scaled', () => {
    const factor = dropoutFactor(atStart(5), 'site', 0.25);
    const factors = Array.from({ length: 8000 }, (_, i) => factor(0, Math.floor(i / 80), i % 80));
    const kept = factors.filter((f) => f !== 0);
    expect(new Set(kept)).toEqual(new Set([1 / 0.75]));
    // Six standard deviations of a binomial.
    expect(Math.abs(kept.length / 8000 - 0.75)).toBeLessThan(6 * Math.sqrt((0.25 * 0.75) / 8000));
  });

  test('depends on seed, site, step and sample', () => {
    const mask = (seed: number, site: string, attempted: number, firstSample: number): string => {
      const factor = dropoutFactor({ seed, attempted, firstSample }, site, 0.5);
      return Array.from({ length: 64 }, (_, i) => (factor(0, 0, i) ? 1 : 0)).join('');
    };
    const masks = [
      mask(1, 's', 0, 0),
      mask(2, 's', 0, 0),
      mask(1, 't', 0, 0),
      mask(1, 's', 1, 0),
      mask(1, 's', 0, 1),
    ];
    expect(new Set(masks).size).toBe(5);
    expect(mask(1, 's', 0, 0)).toBe(masks[0]);
  });

  test('the sample counts over micro-batches', () => {
    const whole = dropoutFactor(atStart(1), 's', 0.5);
    const second = dropoutFactor({ ...atStart(1), firstSample: 4 }, 's', 0.5);
    for (let i = 0; i < 40; i++) expect(second(1, 2, i)).toBe(whole(5, 2, i));
  });
});

test('dropout of a batch equals that of its samples one by one', () => {
  const ones = (rows: number): ReturnType<typeof tensor> =>
    tensor([rows, 5, 6], new Float64Array(rows * 30).fill(1));
  const { data } = dropout(ones(3), 0.5, 'site', atStart(9));
  for (const sample of [0, 1, 2]) {
    const alone = dropout(ones(1), 0.5, 'site', { ...atStart(9), firstSample: sample });
    expect(data.subarray(30 * sample, 30 * (sample + 1))).toEqual(alone.data);
  }
});
