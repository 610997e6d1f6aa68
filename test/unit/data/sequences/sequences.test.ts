import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { BatchRequest, Dataset, DatasetBatch } from '../../../../lib/data/dataset';
import {
  openSequences,
  type OpenSequencesOptions,
  type SequenceData,
} from '../../../../lib/data/sequences/sequences';
import type { Sequence } from '../../../../lib/data/sequences/sequence';
import { packed } from '../../support/batches';
import { failureOf } from '../../support/errors';

const OPTIONS: OpenSequencesOptions = { vocabSize: 300, blockSize: 16, validationFraction: 0 };
const REQUEST: BatchRequest = { seed: 1, step: 0, microStep: 0, rows: 4 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-sequences-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

let files = 0;
const file = async (contents: string | Uint8Array): Promise<string> => {
  const name = path.join(folder, `${files++}.jsonl`);
  await writeFile(name, contents);
  return name;
};

const counting = (length: number, from = 0): number[] => Array.from({ length }, (_, i) => from + i);
/** Sequence i has 2 + i tokens, from 10 · i on. */
const SEQUENCES: readonly Sequence[] = Array.from({ length: 10 }, (_, i) => ({
  tokens: counting(2 + i, 10 * i),
}));
const lines = (sequences: readonly unknown[]): string =>
  sequences.map((one) => `${JSON.stringify(one)}\n`).join('');

/** The rows of a batch, each cut to its length. */
function rowsOf(batch: DatasetBatch): number[][] {
  const { tokens, lengths = [], capacity } = packed(batch);
  const { time = 0 } = capacity.lengths;
  return Array.from(lengths, (length, r) => [...tokens.subarray(r * time, r * time + length)]);
}

async function read(data: SequenceData, request: Partial<BatchRequest> = {}): Promise<number[][]> {
  return rowsOf(await data.train.batch({ ...REQUEST, ...request }));
}

const byFirst = (rows: readonly number[][]): number[][] =>
  [...rows].sort((a, b) => (a[0] as number) - (b[0] as number));
const ALL = SEQUENCES.map(({ tokens }) => [...tokens]);

describe('openSequences', () => {
  it.each(['files', 'an array'])('reads %s, each sequence once an epoch', async (kind) => {
    const source =
      kind === 'an array'
        ? SEQUENCES
        : [await file(lines(SEQUENCES.slice(0, 3))), await file(lines(SEQUENCES.slice(3)))];
    await using data = await openSequences(source, OPTIONS);
    expect(data.sizes).toEqual({
      train: { sequences: 10, tokens: 65, rows: 10 },
      validation: { sequences: 0, tokens: 0, rows: 0 },
    });
    expect(data.validation).toBeUndefined();
    expect(data.train.predictsNext).toBe(true);
    const epoch = await read(data, { rows: 10 });
    expect(epoch).not.toEqual(ALL);
    expect(byFirst(epoch)).toEqual(ALL);
    expect(await read(data, { rows: 10 })).toEqual(epoch);
    expect(await read(data, { rows: 10, step: 1 })).not.toEqual(epoch);
    expect(await read(data, { rows: 10, seed: 2 })).not.toEqual(epoch);
    expect([...(await read(data, { rows: 5 })), ...(await read(data, { rows: 5, step: 1 }))]).toEqual(epoch);
  });

  it('pads rows, and hands over types, subtypes and targets', async () => {
    const sequence = { tokens: [1, 2, 3], types: [0, 1, 1], subtypes: [2, 0, 0], lossMask: [0, 0, 1] };
    await using data = await openSequences([sequence, { ...sequence, tokens: [4, 5, 6] }], {
      ...OPTIONS,
      nTypes: 2,
      nStypes: 3,
    });
    const batch = packed(await data.train.batch({ ...REQUEST, rows: 1 }));
    const { types, subtypes, targets, lengths, starts, rows, capacity } = batch;
    const row = (...values: number[]): number[] => [...values, ...new Array<number>(13).fill(0)];
    expect([...(types ?? [])]).toEqual(row(0, 1, 1));
    expect([...(subtypes ?? [])]).toEqual(row(2, 0, 0));
    expect([...targets].filter((target) => target !== -100)).toHaveLength(1);
    expect(lengths).toEqual(Int32Array.of(3));
    expect(starts).toBeUndefined();
    expect({ rows, capacity }).toEqual({ rows: 1, capacity: { rows: 1, lengths: { time: 16 } } });
    expect(data.train.ids).toEqual({ vocabSize: 300, nTypes: 2, nStypes: 3, ignoreIndex: -100 });
  });

  it('packs rows, and says where documents start', async () => {
    await using data = await openSequences(SEQUENCES, { ...OPTIONS, batching: 'pack' });
    // 65 tokens in rows of 16: at least 5.
    expect(data.sizes.train).toEqual({ sequences: 10, tokens: 65, rows: 5 });
    const batch = await data.train.batch({ ...REQUEST, rows: 5 });
    const { starts, targets, capacity } = packed(batch);
    expect(capacity).toEqual({ rows: 5, lengths: { time: 16 }, documents: true });
    const documents = rowsOf(batch).flatMap((row, r) => {
      const firsts = [...new Set(starts?.subarray(r * 16, r * 16 + row.length))];
      expect(firsts[0]).toBe(0);
      return firsts.map((start, d) => row.slice(start, firsts[d + 1]));
    });
    expect(byFirst(documents)).toEqual(ALL);
    // No target crosses from one document to the next.
    expect([...targets].filter((target) => target !== -100)).toHaveLength(65 - 10);
  });

  it('makes batches of similar lengths, which say their capacity', async () => {
    const sequences = Array.from({ length: 40 }, (_, i) => ({ tokens: counting(i % 2 === 0 ? 3 : 40) }));
    await using data = await openSequences(sequences, {
      ...OPTIONS,
      blockSize: 64,
      batching: 'bucket',
      maxTokens: 256,
    });
    const shapes = new Set<string>();
    let drawn = 0;
    for (let step = 0; step < data.sizes.train.rows; step++) {
      const { capacity, lengths = [] } = packed(await data.train.batch({ ...REQUEST, step }));
      expect(new Set(lengths).size).toBe(1);
      shapes.add(JSON.stringify(capacity));
      drawn += lengths.length;
    }
    expect(drawn).toBe(40);
    // 20 short ones in 3 batches of 7 (8 would fit), 20 long ones in 5 of 4.
    expect([...shapes].sort()).toEqual([
      '{"rows":4,"lengths":{"time":64}}',
      '{"rows":7,"lengths":{"time":32}}',
    ]);
    expect(data.sizes.train.rows).toBe(8);
    // 20 sequences in 6 micro-steps of at most 4: the sixth has none left.
    const steps = Array.from({ length: 6 }, (_, step) => step);
    const sixth = await Promise.all(
      steps.map((step) => data.train.batch({ ...REQUEST, step, microStep: 5, microSteps: 6 })),
    );
    expect(sixth.some((batch) => packed(batch).rows === 0)).toBe(true);
  });

  it('keeps the last sequences for validation, the same batches at every call', async () => {
    await using data = await openSequences(SEQUENCES, { ...OPTIONS, validationFraction: 0.3 });
    const evaluate = async (): Promise<number[][][]> => {
      const batches: number[][][] = [];
      for await (const batch of (data.validation as Dataset).evaluationBatches(2, 5))
        batches.push(rowsOf(batch));
      return batches;
    };
    expect(await evaluate()).toEqual([[ALL[7], ALL[8]], [ALL[9]]]);
    expect(await evaluate()).toEqual([[ALL[7], ALL[8]], [ALL[9]]]);
    expect(byFirst(await read(data, { rows: 7 }))).toEqual(ALL.slice(0, 7));
  });

  it('reports how sequences begin', async () => {
    const same = { tokens: [7, 1, 2], lossMask: [0, 0, 1] };
    await using some = await openSequences([same, same, { tokens: [3, 1] }], OPTIONS);
    expect(some.starts).toEqual({
      firstTokens: [
        { token: 7, count: 2 },
        { token: 3, count: 1 },
      ],
      promptTokens: { least: 1, most: 2 },
    });
    expect(some.train.starts).toEqual(some.starts);
    await using many = await openSequences(
      Array.from({ length: 17 }, (_, i) => ({ tokens: [i, 0] })),
      OPTIONS,
    );
    expect(many.starts.firstTokens).toBe('any');
  });

  it('reads what editors make of lines', async () => {
    const [first, second] = SEQUENCES.slice(3).map((one) => JSON.stringify(one));
    const contents = `\uFEFF${first}\r\n\r\n  \n${second}`;
    await using data = await openSequences(await file(contents), OPTIONS);
    expect(byFirst(await read(data, { rows: 2 }))).toEqual([ALL[3], ALL[4]]);
  });

  it('reads lines longer than one read, wherever they begin', async () => {
    // Spaces make lines of 0.4 to 3 MB.
    const sequences = SEQUENCES.map((one, i) => {
      const json = JSON.stringify(one);
      return `${json.slice(0, -1)}${' '.repeat(400_000 + 300_000 * i)}}\n`;
    });
    await using data = await openSequences(await file(sequences.join('')), OPTIONS);
    expect(byFirst(await read(data, { rows: 10 }))).toEqual(ALL);
  });

  it.each<[string, string | Uint8Array, RegExp, number?]>([
    ['what is no JSON', '{"tokens":[1,2]}\nhello\n{"tokens":[1,2]}\n', /is not JSON/, 2],
    [
      'a torn last line',
      '{"tokens":[1,2]}\n\n{"tokens":[1,2',
      /is the last line, and incomplete: the file was/,
      3,
    ],
    ['a wrong id', '{"tokens":[1,2]}\n{"tokens":[1,300]}\n', /has tokens\[1\] 300: .* from 0 to 299/, 2],
    ['a long sequence', lines([{ tokens: counting(17) }]), /has 17 tokens, more than blockSize 16/, 1],
    ['a key twice', '{"tokens":[1,2],"tokens":[1,3]}\n', /has a key twice/, 1],
    ['nested arrays', `${'['.repeat(1000)}\n`, /is nested: a sequence is one object/, 1],
    ['objects in objects', '{"tokens":[1,2],"meta":{"a":{}}}\n', /is nested/, 1],
    [
      'targets in some',
      '{"tokens":[1,2]}\n{"tokens":[1],"targets":[2]}\n',
      /has targets, but earlier sequences have none/,
      2,
    ],
    ['UTF-16', Buffer.from('\uFEFF{"tokens":[1,2]}\n', 'utf16le'), /is not JSON/, 1],
    ['NUL bytes', Buffer.alloc(5000), /is not JSON|incomplete/, 1],
    ['an empty file', '', /the data has no sequences/],
    ['blank lines alone', '\n \r\n', /the data has no sequences/],
  ])('refuses %s, with its line', async (_, contents, message, line = 0) => {
    const name = await file(contents);
    const failure = await failureOf('ERR_DATA', () => openSequences(name, OPTIONS));
    expect(failure.message).toMatch(message);
    if (line === 0) return;
    expect(failure.message).toMatch(`${name}:${line} `);
    expect(failure.details).toEqual({ path: name, line });
  });

  it('refuses a line without an end, in bounded memory', async () => {
    const name = await file('{"tokens":[1,2]}\n{"tokens":[');
    await truncate(name, 2 ** 36); // holes: 64 GiB of NUL bytes that are nowhere
    const failure = await failureOf('ERR_DATA', () => openSequences(name, OPTIONS));
    expect(failure.message).toMatch(`${name}:2 has more than 33554432 bytes`);
  });

  it('refuses what is not a file', async () => {
    const missing = await failureOf('ERR_DATA', () => openSequences(path.join(folder, 'none'), OPTIONS));
    expect(missing.message).toMatch(/'.*none' does not exist/);
    const directory = await failureOf('ERR_DATA', () => openSequences(folder, OPTIONS));
    expect(directory.message).toMatch(/is a folder, not a file: give the files in it/);
    const pipe = path.join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const fifo = await failureOf('ERR_DATA', () => openSequences(pipe, OPTIONS));
    expect(fifo.message).toMatch(/is a named pipe, not a file/);
  });

  it('says so when a file is changed while it is open', async () => {
    const name = await file(lines(SEQUENCES));
    await using data = await openSequences(name, OPTIONS);
    await writeFile(name, lines([...SEQUENCES].reverse()));
    const changed = await failureOf('ERR_DATA', () => read(data, { rows: 10 }));
    expect(changed.message).toMatch(/the line at byte \d+ of '.*' /);
    await truncate(name, 5);
    const cut = await failureOf('ERR_DATA', () => read(data));
    expect(cut.message).toMatch(/it was truncated since it was opened/);
  });

  it.each<[string, unknown, RegExp]>([
    ['a number', 5, /sequence 1 is 5/],
    ['a function', { tokens: () => 1 }, /one of the sequences 0 to 1 is not plain data/],
    ['a fraction', { tokens: [1, 0.5] }, /sequence 1 has tokens\[1\] 0.5/],
  ])('refuses %s in an array', async (_, value, message) => {
    const failure = await failureOf('ERR_DATA', () =>
      openSequences([{ tokens: [1, 2] }, value as Sequence], OPTIONS),
    );
    expect(failure.message).toMatch(message);
  });

  it.each<[string, object, RegExp]>([
    ['no vocabSize', { vocabSize: undefined }, /vocabSize is missing/],
    ['a wrong batching', { batching: 'padding' }, /batching must be one of 'pad', 'pack', 'bucket'/],
    ['no maxTokens', { batching: 'bucket' }, /batching 'bucket' needs maxTokens/],
    ['maxTokens without buckets', { maxTokens: 64 }, /maxTokens is for batching 'bucket', not 'pad'/],
    [
      'a small maxTokens',
      { batching: 'bucket', maxTokens: 10 },
      /maxTokens 10 is less than the longest .* 11 tokens/,
    ],
    ['an unknown option', { shuffle: true }, /shuffle is unknown/],
  ])('refuses %s', async (_, options, message) => {
    const failure = await failureOf('ERR_CONFIG', () => openSequences(SEQUENCES, { ...OPTIONS, ...options }));
    expect(failure.message).toMatch(message);
  });

  it('refuses too few sequences for validation, and nothing at all', async () => {
    const few = await failureOf('ERR_DATA', () =>
      openSequences(SEQUENCES.slice(0, 5), { ...OPTIONS, validationFraction: 0.1 }),
    );
    expect(few.message).toMatch(/validationFraction 0.1 keeps none of the 5 sequences: give at least 10/);
    await failureOf('ERR_CONFIG', () => openSequences([], OPTIONS));
    await failureOf('ERR_CONFIG', () => openSequences('', OPTIONS));
  });

  it('rejects after close', async () => {
    const data = await openSequences(SEQUENCES, OPTIONS);
    const pending = read(data);
    pending.catch(() => undefined);
    await data.close();
    await data.close();
    await failureOf('ERR_DISPOSED', () => read(data));
  });
});
