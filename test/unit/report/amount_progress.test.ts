import { PassThrough } from 'node:stream';
import { AmountProgress, bytesText, tokensText } from '../../../lib/report/amount_progress';

const GiB = 2 ** 30;

it.each([
  [GiB / 2, 2 * GiB, 2, '512 MiB of 2 GiB · 256 MiB/s · 6s left'],
  [2 * GiB, 2 * GiB, 100, '2 GiB of 2 GiB · 20.5 MiB/s · 0s left'],
  [0, GiB, 1, '0 B of 1 GiB · 0 B/s · - left'],
])('tells of %p bytes of %p after %p seconds', (done, total, seconds, text) => {
  expect(bytesText(done, total, seconds)).toBe(text);
});

it('describes tokens', () => {
  expect(tokensText(12_000, 20_000, 3)).toBe('12 k of 20 k tokens · 4 k tokens/s · 2s left');
});

it('is quiet without a terminal, and draws and removes a bar on one', () => {
  const shown = (isTTY: boolean): string => {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: 100, cursorTo: () => true });
    const progress = new AmountProgress(
      bytesText,
      Object.assign(stream, { clearLine: () => true, moveCursor: () => true }),
    );
    progress.update(1, 2);
    progress.stop();
    return String(stream.read() ?? '');
  };
  expect(shown(false)).toBe('');
  expect(shown(true)).toContain('1 B of 2 B');
});
