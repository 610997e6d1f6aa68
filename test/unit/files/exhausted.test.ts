/** If too many files are open, opening is retried for a second and then fails with a code. */
import fs from 'node:fs';
import promises, { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import timers from 'node:timers/promises';
import { jsonInput } from '../../../lib/data/prepare/json_input';
import { listInputs } from '../../../lib/data/prepare/inputs';
import { readSegment } from '../../../lib/data/prepare/segment_reader';
import { segmentsOf, type Segment } from '../../../lib/data/prepare/segments';
import { JsonlStore } from '../../../lib/data/sequences/jsonl_store';
import { readText } from '../../../lib/data/text_source';
import { readDescription } from '../../../lib/data/tokens/format';
import { TokenFile } from '../../../lib/data/tokens/token_file';
import { TokenWriter } from '../../../lib/data/tokens/token_writer';
import { openTokenizer } from '../../../lib/data/tokenizers';
import { readJson } from '../../../lib/cli/json_file';
import { openFile, openFileSync } from '../../../lib/files/regular_file';
import { readMetrics } from '../../../lib/training/metrics';
import { failureOf } from '../support/errors';
import { tinyTokenizer } from '../support/tokenizer';

let folder: string;
const at = (...names: string[]): string => path.join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'exhausted-'));
  for (const name of ['beside', 'pair', 'inputs']) await mkdir(at(name));
  for (const name of ['text', 'opened', 'segment', 'tokens.bin']) await writeFile(at(name), 'text');
  for (const name of ['input.json', 'run.json']) await writeFile(at(name), '[]');
  const described = {
    version: 1,
    format: 'nanogpt',
    dtype: 'uint16',
    vocabSize: 9,
    tokens: 0,
    sha256: '0'.repeat(64),
  };
  await writeFile(at('described.json'), JSON.stringify(described));
  const tokenizer = tinyTokenizer();
  await writeFile(at('beside', 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(at('beside', 'tokenizer_config.json'), '{}');
  await writeFile(at('beside', 'config.json'), '{}');
  await writeFile(at('pair', 'vocab.json'), JSON.stringify(tokenizer.model.vocab));
  await writeFile(at('pair', 'merges.txt'), tokenizer.model.merges.join('\n'));
  await writeFile(at('inputs', 'a.txt'), 'text');
  await writeFile(at('sequences.jsonl'), '{"tokens": [1, 2, 3]}\n');
  await writeFile(at('metrics.jsonl'), '');
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => jest.restoreAllMocks());

/**
 * Makes the first opens of a file fail as if too many files were open, without pauses between retries; returns how many failed.
 */
function failing(count: number, name: string): () => number {
  let failed = 0;
  const check = (file: unknown): void => {
    if (failed >= count || path.basename(String(file)) !== name) return;
    failed++;
    throw Object.assign(new Error(`EMFILE: too many open files, open '${name}'`), { code: 'EMFILE' });
  };
  const { open, readdir } = promises;
  const { openSync } = fs;
  jest.spyOn(promises, 'open').mockImplementation(async (...args) => (check(args[0]), open(...args)));
  jest
    .spyOn(promises, 'readdir')
    .mockImplementation(async (...args: Parameters<typeof readdir>) => (check(args[0]), readdir(...args)));
  jest.spyOn(fs, 'openSync').mockImplementation((...args) => (check(args[0]), openSync(...args)));
  jest.spyOn(timers, 'setTimeout').mockResolvedValue(undefined);
  jest.spyOn(Atomics, 'wait').mockReturnValue('timed-out');
  return () => failed;
}

const all = async (parts: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of parts);
};

const rules = { vocabSize: 9, nTypes: 0, nStypes: 0, ignoreIndex: -1, blockSize: 4, truncation: false };
const opened = async (): Promise<void> => (await openFile(at('opened'))).close();
const segment = (): Segment => [...segmentsOf([{ path: at('segment'), kind: 'text', bytes: 4 }], 0)][0]!;

/** What reads files, by their names. */
const READS: readonly (readonly [file: string, read: () => unknown])[] = [
  ['text', () => readText(at('text'))],
  ['tokens.bin', () => TokenFile.open(at('tokens.bin'), { vocabSize: 2 ** 16, verify: false }, () => 0)],
  ['described.json', () => readDescription(at('described.bin'))],
  ['sequences.jsonl', () => JsonlStore.open([at('sequences.jsonl')], rules).close()],
  ['inputs', () => listInputs([at('inputs')])],
  ['input.json', () => jsonInput(at('input.json'), 2)],
  ['segment', () => all(readSegment(segment(), 'text'))],
  ['tokenizer.json', () => openTokenizer(at('beside'))],
  ['tokenizer_config.json', () => openTokenizer(at('beside'))],
  ['config.json', () => openTokenizer(at('beside'))],
  ['vocab.json', () => openTokenizer(at('pair'))],
  ['merges.txt', () => openTokenizer(at('pair'))],
  ['run.json', () => readJson(at('run.json'))],
  ['metrics.jsonl', () => readMetrics(at('metrics.jsonl'))],
];

it.each([
  ['async', opened],
  ['sync', () => Promise.resolve(fs.closeSync(openFileSync(at('opened'))))],
])('%s: opening is tried again', async (_, open) => {
  const failed = failing(4, 'opened');
  await open();
  expect(failed()).toBe(4);
});

it('a token file is opened again for writing, and for its hash', async () => {
  const failed = failing(4, 'written.bin');
  const writer = await TokenWriter.create(at('written.bin'), 'nanogpt', 'uint16');
  expect(failed()).toBe(4);
  await writer.append(Uint16Array.of(1, 2));
  jest.restoreAllMocks();
  const again = failing(4, 'written.bin');
  expect(await writer.finish()).toMatchObject({ tokens: 2 });
  expect(again()).toBe(4);
});

it.each(READS)('%s is read after a while', async (file, read) => {
  const failed = failing(4, file);
  await read();
  expect(failed()).toBe(4);
});

it.each(READS)('%s is ERR_DEVICE in the end', async (file, read) => {
  failing(Infinity, file);
  const { message } = await failureOf('ERR_DEVICE', read);
  expect(message).toMatch(/EMFILE.*too many files open: raise its limit \(ulimit -n\)/);
});
