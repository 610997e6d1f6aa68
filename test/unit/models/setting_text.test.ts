import { z } from 'zod';
import { settingText, valueText } from '../../../lib/models/setting_text';

describe('settingText', () => {
  it.each<[string, z.ZodType, string]>([
    ['text alone', z.boolean().optional().describe('Whether.'), 'Whether.'],
    [
      'a range and a default',
      z.int().min(1).max(65_536).default(8).describe('Rows.'),
      'Rows. An integer from 1 to 65,536. Default 8.',
    ],
    [
      'the range of what may be null, before a default that depends on others',
      z.int().min(1).nullable().optional().describe('Width. Default 4 · nEmbd.'),
      'Width. An integer of at least 1. Default 4 · nEmbd.',
    ],
    ['the description inside', z.enum(['a', 'b']).describe('Which.').default('a'), "Which. Default 'a'."],
    [
      'no default that a line can not show',
      z.map(z.number(), z.number()).default(new Map()).describe('Biases.'),
      'Biases.',
    ],
  ])('has %s', (_what, schema, text) => expect(settingText(schema)).toBe(text));

  it('takes another default', () => {
    const seed = z.int().min(0).optional().describe('Seeds it. Default: a random one.');
    expect(settingText(seed, '0')).toBe('Seeds it. An integer of at least 0. Default 0.');
  });
});

it.each<[unknown, string]>([
  [10_000_000, '10,000,000'],
  [1024, '1024'],
  [2 ** 24, '2^24'],
  [-(2 ** 31), '-2147483648'],
  [1e9, '1e9'],
  [6e-4, '6e-4'],
  [0.95, '0.95'],
  ['cos', "'cos'"],
  ['\n', String.raw`'\n'`],
  [false, 'false'],
  [null, 'null'],
])('valueText(%j)', (value, text) => expect(valueText(value)).toBe(text));
