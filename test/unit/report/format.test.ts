import { formatBytes, formatCount, formatDuration, formatSeconds } from '../../../lib/report/format';
import { textTable } from '../../../lib/report/table';

it.each<[number, string]>([
  [0, '0 B'],
  [1023, '1023 B'],
  [1023.6, '1 KiB'],
  [1024, '1 KiB'],
  [1536, '1.5 KiB'],
  [24 * 2 ** 30, '24 GiB'],
  [5 * 2 ** 50, '5120 TiB'],
])('formatBytes(%d)', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

it.each<[number, string]>([
  [0, '0'],
  [999, '999'],
  [999.7, '1 k'],
  [1234, '1.23 k'],
  [124_439_808, '124 M'],
])('formatCount(%d)', (value, text) => expect(formatCount(value)).toBe(text));

it.each<[number, string]>([
  [0, '0 s'],
  [2.67e-8, '26.7 ns'],
  [1.234e-5, '12.3 µs'],
  [4.56e-3, '4.56 ms'],
  [93, '93 s'],
])('formatSeconds(%d)', (seconds, text) => expect(formatSeconds(seconds)).toBe(text));

it.each<[number, string]>([
  [0, '0s'],
  [59.6, '1m 00s'],
  [185, '3m 05s'],
  [7620, '2h 07m'],
  [Infinity, '-'],
  [NaN, '-'],
])('formatDuration(%d)', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

it('lays out a table without trailing spaces', () => {
  const columns = [{ title: 'name' }, { title: 'bytes', align: 'right' }, { title: 'why' }] as const;
  expect(
    textTable(
      columns,
      [
        ['a', '1', ''],
        ['longer', '1000', 'yes'],
      ],
      ['total', '1001'],
    ),
  ).toBe(
    [
      'name    bytes  why',
      '------  -----  ---',
      'a           1',
      'longer   1000  yes',
      '------  -----  ---',
      'total    1001',
    ].join('\n'),
  );
});
