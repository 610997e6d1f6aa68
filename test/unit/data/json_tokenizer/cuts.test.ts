import { Tokenizer as Library } from 'tokenizers';
import { JsonTokenizer } from '../../../../lib/data/json_tokenizer';
import { failureOf } from '../../support/errors';
import { cuttable } from '../../support/tokenizer';

const split = (Regex: string): object => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
});
const QWEN =
  "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const spaces = { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' };
const unsplit = { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '\u2581' }, spaces] };
const lines = (separator: string): string =>
  Array.from({ length: 4500 }, (_, i) => `line number ${i % 977} and the rest of it.`).join(separator);

it.each<[string, string, object]>([
  ['lines that end in CR LF', lines('\r\n'), {}],
  ['lines that are indented', lines('\n  '), {}],
  ['blank lines, as Qwen cuts them', lines('\n\n'), { pre_tokenizer: split(QWEN) }],
  ['one line', lines(' '), {}],
  ['a line without spaces', lines(',').replaceAll(' ', ''), {}],
  [
    'digits in threes from the right',
    '12 1234567 '.repeat(15_000),
    { pre_tokenizer: split('(?=(\\d{3})+(?!\\d))') },
  ],
  [
    'a text that is not split before it is encoded',
    lines('  '),
    { normalizer: unsplit, pre_tokenizer: null },
  ],
  [
    'stripped ends',
    ` ${lines('\n\t')} `,
    { normalizer: { type: 'Strip', strip_left: true, strip_right: true } },
  ],
  ['a run of spaces', ' '.repeat(150_001), {}],
  ['a run of letters', 'l'.repeat(150_001), {}],
  ['pairs of surrogates', '😀'.repeat(50_000), {}],
])('gives the tokens of a whole text for %s', async (_what, text, parts) => {
  const json = JSON.stringify(cuttable(parts));
  const whole = (await Library.fromString(json).encode(text, null, { addSpecialTokens: false })).getIds();
  const made = await new JsonTokenizer(json).encode(text);
  expect(made.length).toBe(whole.length);
  expect(made.every((id, i) => id === whole[i])).toBe(true);
});

it("refuses a long text that it can't cut, because a pattern might take forever", async () => {
  const tokenizer = new JsonTokenizer(JSON.stringify(cuttable({ pre_tokenizer: split('(\\[[^\\]]+]|a)') })));
  const { message, details } = await failureOf('ERR_DATA', () => tokenizer.encode('['.repeat(200_000)));
  expect(message).toMatch(/the 65536 characters from offset 0 have no place where the text can be cut/);
  expect(details).toMatchObject({ offset: 0 });
});
