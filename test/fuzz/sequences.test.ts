import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { JsonlStore } from '../../lib/data/sequences/jsonl_store';
import { fieldsOf, type SequenceRules } from '../../lib/data/sequences/sequence';
import { SequenceSource, type Batching } from '../../lib/data/sequences/source';
import { damagedText, expectCoded, mutated } from './support';

const CODES = ['ERR_DATA'];
const RULES: SequenceRules = {
  ...{ vocabSize: 19, nTypes: 2, nStypes: 0, ignoreIndex: -100 },
  ...{ blockSize: 8, truncation: false },
};

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'fuzz-sequences-'));
  file = path.join(folder, 'train.jsonl');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The meaning of a line by the rules, from its text alone: its tokens and targets, or undefined if it is wrong. */
function expected(line: string, rules: SequenceRules): { tokens: number[]; targets: number[] } | undefined {
  let value: Record<string, number[] | undefined>;
  try {
    value = JSON.parse(line) as typeof value;
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  if ((line.match(/"/g) ?? []).length !== 2 * Object.keys(value).length) return undefined; // a key twice
  const ranges: Record<string, readonly [low: number, high: number, besides?: number]> = {
    tokens: [0, rules.vocabSize],
    types: [0, rules.nTypes],
    lossMask: [0, 2],
    targets: [0, rules.vocabSize, rules.ignoreIndex],
  };
  const { tokens, types, lossMask, targets } = value;
  for (const [key, list] of Object.entries(value)) {
    if (!Object.hasOwn(ranges, key) || !Array.isArray(list) || list.length !== tokens?.length)
      return undefined;
    const [low, high, besides] = ranges[key]!;
    if (!list.every((id) => (Number.isInteger(id) && id >= low && id < high) || id === besides))
      return undefined;
  }
  if (!tokens || !types || tokens.length === 0 || (lossMask && targets)) return undefined;
  if (tokens.length > rules.blockSize && !rules.truncation) return undefined;
  const next = tokens.map(
    (_, i) => (lossMask?.[i + 1] === 0 ? undefined : tokens[i + 1]) ?? rules.ignoreIndex,
  );
  const cut = (targets ?? next).slice(0, rules.blockSize);
  if (cut.every((target) => target === rules.ignoreIndex)) return undefined;
  return { tokens: tokens.slice(0, rules.blockSize), targets: cut };
}

const length = fc.integer({ min: 1, max: 10 });
const ids = (below: number, count: number): fc.Arbitrary<number[]> =>
  fc.array(fc.nat(below - 1), { minLength: count, maxLength: count });
const valid = length.chain((count) =>
  fc.oneof(
    fc.record({ tokens: ids(19, count), types: ids(2, count) }),
    fc.record({ tokens: ids(19, count), types: ids(2, count), lossMask: ids(2, count) }),
    fc.record({ tokens: ids(19, count), types: ids(2, count), targets: ids(19, count) }),
  ),
);

const number = fc.oneof(
  { weight: 8, arbitrary: fc.nat(18).map(String) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        '-0',
        '1.0',
        '1e0',
        '0.5',
        '-1',
        '19',
        '-100',
        '9007199254740992',
        '9007199254740993',
        '4294967297',
        '1e999',
      ],
      ...['NaN', 'Infinity', '01', '0x1', '"1"', 'null', 'true', '[]', '{}', '', '1e-400'],
    ),
  },
);
const key = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('tokens', 'types', 'lossMask', 'targets') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        'subtypes',
        '__proto__',
        'constructor',
        'toString',
        'input_ids',
        '',
        'tok\\u0065ns',
        '\\ud800',
        '\\u0000',
      ],
    ),
  },
);
/** JSON written by hand, which can have duplicate keys and numbers that JSON does not have. */
const written = fc
  .tuple(
    fc.array(fc.tuple(key, fc.array(number, { maxLength: 3 })), { maxLength: 3 }),
    fc.array(number, { minLength: 2, maxLength: 2 }),
  )
  .map(([entries, tokens]) => {
    const all: [string, string[]][] = [['tokens', tokens], ['types', ['0', '1']], ...entries];
    return `{${all.map(([name, values]) => `"${name}":[${values.join()}]`).join()}}`;
  });
const line = fc.oneof(
  { weight: 6, arbitrary: valid.map((one) => JSON.stringify(one)) },
  { weight: 2, arbitrary: valid.chain((one) => mutated(one as never)).map((one) => JSON.stringify(one)) },
  { weight: 1, arbitrary: valid.chain((one) => damagedText(one as never)) },
  { weight: 3, arbitrary: written },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', ' ', '\t', '\u0000', '\uFEFF', '[]', '{}', '1', '"x"', 'null'),
  },
);

const store = (rules: SequenceRules): JsonlStore | undefined => {
  try {
    return JsonlStore.open([file], rules);
  } catch (failure) {
    expectCoded(failure, CODES);
    return undefined;
  }
};

test('lines are read by the rules, or refused with a code', () => {
  const refused = { yes: 0, no: 0 };
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 4 }),
      fc.constantFrom('\n', '\r\n', '\n\n'),
      fc.record({
        mark: fc.boolean(),
        ends: fc.boolean(),
        truncation: fc.boolean(),
        lost: fc.constantFrom(0, 0, 0, 1, 5),
      }),
      (lines, end, { mark, ends, truncation, lost }) => {
        const rules = { ...RULES, truncation };
        const bytes = Buffer.from(`${mark ? '\uFEFF' : ''}${lines.join(end)}${ends ? end : ''}`);
        const content = bytes.subarray(0, bytes.length - lost);
        writeFileSync(file, content);
        const text = content.toString('utf8').replace(/^\uFEFF/, '');
        const wanted = text
          .split('\n')
          .filter((one) => one.trim() !== '')
          .map((one) => ({ ...expected(one, rules), own: one.includes('"targets"') }));
        const right = wanted.every(({ tokens, own }) => tokens && own === wanted[0]?.own);
        const opened = store(rules);
        refused[opened ? 'no' : 'yes']++;
        expect(opened !== undefined).toBe(right);
        if (!opened) return;
        try {
          expect(opened.lengths).toHaveLength(wanted.length);
          const fields = fieldsOf(rules);
          wanted.forEach(({ tokens = [], targets = [] }, i) => {
            const values = opened.values(i);
            const count = values.length / fields.length;
            expect([...values.subarray(0, count)]).toEqual(tokens.map((id) => id + 0));
            expect([...values.subarray(values.length - count)]).toEqual(targets.map((id) => id + 0));
          });
        } finally {
          opened.close();
        }
      },
    ),
    { seed: 7, numRuns: 3000 },
  );
  // Neither is what all of them come to.
  expect(Math.min(refused.yes, refused.no)).toBeGreaterThan(300);
});

test('any bytes are refused with a code, or have no sequence', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      writeFileSync(file, bytes);
      const opened = store(RULES);
      opened?.close();
      expect(opened?.lengths.length ?? 0).toBe(0);
    }),
    { seed: 8, numRuns: 1000 },
  );
});

test('batches have every sequence of an epoch once, whatever the lengths', () => {
  const batching = fc.constantFrom<Batching>('pad', 'pack', 'bucket');
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 2, max: 8 }), { minLength: 1, maxLength: 20 }),
      batching,
      fc.integer({ min: 8, max: 40 }),
      fc.nat(),
      (lengths, mode, maxTokens, seed) => {
        writeFileSync(
          file,
          lengths
            .map(
              (count) =>
                `{"tokens":[${Array(count).fill(1).join()}],"types":[${Array(count).fill(0).join()}]}\n`,
            )
            .join(''),
        );
        const rules = {
          ...RULES,
          batching: mode,
          maxTokens: mode === 'bucket' ? maxTokens : undefined,
          validationFraction: 0,
        };
        const opened = JsonlStore.open([file], rules);
        try {
          const source = new SequenceSource(opened, rules);
          const { rows } = source.facts.sizes.train;
          let tokens = 0;
          for (let step = 0; step < rows; step++) {
            const batch = source.batch('train', { seed, step, microStep: 0, rows: 1 });
            for (const length of batch.lengths ?? []) tokens += length;
            const positions = batch.inputs['tokens']?.length;
            expect(positions).toBeLessThanOrEqual(mode === 'bucket' ? maxTokens : RULES.blockSize);
          }
          expect(tokens).toBe(lengths.reduce((a, b) => a + b, 0));
        } finally {
          opened.close();
        }
      },
    ),
    { seed: 9, numRuns: 300 },
  );
});

// A process of its own, because one without memory ends. Its heap holds what a valid line of 2^25 bytes takes, 0.5 GB.
const LONGEST = 2 ** 25;
test.each<[string, () => string, RegExp]>([
  ['64 MB of tokens', () => `{"tokens":[${'1,'.repeat(LONGEST)}1]}\n`, /has more than 33554432 bytes/],
  ['brackets without end', () => '['.repeat(LONGEST - 1), /is nested/],
  ['objects', () => `{"tokens":[${'{},'.repeat(10_000_000)}1`, /is nested/],
  ['a key of 32 MB', () => `{"${'y'.repeat(LONGEST - 20)}":[1]}\n`, /unknown key/],
  ['a number of 32 MB', () => `{"tokens":[${'9'.repeat(LONGEST - 20)}]}\n`, /has (no types|tokens\[0\])/],
  ['an id after many', () => `{"tokens":[${'1,'.repeat(LONGEST / 2 - 20)}x]}\n`, /is not JSON/],
])('one line of %s is refused in bounded memory', async (_, contents, message) => {
  const large = path.join(folder, 'large.jsonl');
  writeFileSync(large, contents());
  const program = `
    const { JsonlStore } = require('./dist/data/sequences/jsonl_store.js');
    try {
      JsonlStore.open([process.argv[1]], JSON.parse(process.argv[2]));
    } catch (error) {
      console.log(error.code, error.message);
    }`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--max-old-space-size=768', '-e', program, large, JSON.stringify(RULES)],
    { cwd: path.resolve(__dirname, '../..'), timeout: 50_000 },
  );
  expect(stdout).toMatch(/^ERR_DATA /);
  expect(stdout).toMatch(message);
  expect(stdout.length).toBeLessThan(1000);
});
