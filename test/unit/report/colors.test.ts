import { colorsFor } from '../../../lib/report/colors';

const given = { ...process.env };
afterEach(() => {
  process.env = { ...given };
});

it.each<[stream: { isTTY?: boolean }, environment: Record<string, string>, colored: boolean]>([
  [{ isTTY: true }, {}, true],
  [{ isTTY: false }, {}, false],
  [{}, {}, false],
  [{}, { CI: 'true' }, false],
  [{ isTTY: true }, { TERM: 'dumb' }, false],
  [{ isTTY: true }, { NO_COLOR: '1' }, false],
  [{ isTTY: true }, { NO_COLOR: '' }, true],
  [{ isTTY: true }, { FORCE_COLOR: '0' }, false],
  [{}, { FORCE_COLOR: '1' }, true],
  [{}, { FORCE_COLOR: '' }, false],
  [{}, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
])('%j with %j: %s', (stream, environment, colored) => {
  process.env = { TERM: 'xterm', ...environment };
  expect(colorsFor(stream).red('x')).toBe(colored ? '\u001b[31mx\u001b[39m' : 'x');
});
