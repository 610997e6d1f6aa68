import { safeJson, safeLine, safeText } from '../../../lib/report/safe_text';

const EVIL = 'a\tb\n\u001B[2J\u001B]0;title\u0007\r\u0000\u007F\u0085\u009B31m\u202Eabc\u2066\u001B[31mred é';

it('replaces control characters, C1 and DEL among them, and overrides of the direction', () => {
  expect(safeText(EVIL)).toBe('a\tb\n�[2J�]0;title������31m�abc��[31mred é');
});

it('leaves colours in a line of ours, and no other sequence', () => {
  expect(safeLine('\u001B[31merror\u001B[39m \u001B[2J\u001B[38;5;1mx\u001B[1000m')).toBe(
    '\u001B[31merror\u001B[39m �[2J�[38;5;1mx�[1000m',
  );
});

it('escapes them in JSON, whose value stays the same', () => {
  const json = safeJson(JSON.stringify({ [EVIL]: EVIL }));
  expect(json).toBe(safeText(json));
  expect(JSON.parse(json)).toEqual({ [EVIL]: EVIL });
});
