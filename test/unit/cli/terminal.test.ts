import path from 'node:path';
import { safeFor, shownPath } from '../../../lib/cli/terminal';

it('keeps control characters of a model from a terminal, and from nothing else', () => {
  const text = 'a\tb\nc\u001b[2Jd\u0007\u009be é';
  expect(safeFor({ isTTY: true }, text)).toBe('a\tb\nc\uFFFD[2Jd\uFFFD\uFFFDe é');
  expect(safeFor({ isTTY: false }, text)).toBe(text);
  expect(safeFor({}, text)).toBe(text);
});

it('shows paths below the current folder as relative ones', () => {
  expect(shownPath(path.resolve('runs/a/loss.svg'))).toBe(path.join('runs', 'a', 'loss.svg'));
  expect(shownPath(path.resolve('..', 'x'))).toBe(path.resolve('..', 'x'));
  expect(shownPath(path.resolve('.'))).toBe('.');
});
