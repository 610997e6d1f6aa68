import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { readRunConfig, readTrainableRun, type RunConfig } from '../../lib/cli/config';
import { damagedText, expectCoded, mutated, type Json } from './support';

/** ERR_DATA is for the description of token files, ERR_CHECKPOINT for what initFrom names. */
const CODES = ['ERR_CONFIG', 'ERR_DATA', 'ERR_CHECKPOINT'];

const model = { type: 'gpt2', nEmbd: 32, nHead: 4, nLayer: 2, nPositions: 16, vocabSize: 19 };
const training = {
  ...{ maxSteps: 10, batchSize: 2, learningRate: 1e-3, lrScheduler: 'cosine', warmupSteps: 2 },
  ...{ optim: 'adamw', adamBeta1: 0.9, maxGradNorm: 1, seed: 1 },
  ...{ parameterGroups: [{ match: 'wte', weightDecay: 0 }] },
};
const RUNS: readonly Json[] = [
  { model, data: { text: ['a.txt', 'b.txt'], validationFraction: 0.1 }, training },
  { model, data: { tokens: 'tokens', tokenizer: 'byte', verify: true }, training: { maxSteps: 1 } },
  { model, data: { sequences: 'a.jsonl', batching: 'bucket', maxTokens: 64 }, training },
  { model, sampling: { maxNewTokens: 3, temperature: 0.5, seed: 2, prompt: 'x' } },
  { initFrom: 'checkpoint', data: { text: 'a.txt' } },
];

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'fuzz-config-'));
  file = path.join(folder, 'run.json');
});
afterAll(() => rmSync(folder, { recursive: true }));

async function read(content: string | Uint8Array): Promise<RunConfig | undefined> {
  writeFileSync(file, content);
  // What trains is read again, with a setting of the command line.
  await readTrainableRun(file, { maxSteps: 5 }).catch((failure: unknown) => expectCoded(failure, CODES));
  try {
    return await readRunConfig(file);
  } catch (failure) {
    expectCoded(failure, CODES);
    return undefined;
  }
}

/** Numbers that JSON has no value for, or that no setting may have, are not let through. */
function expectUsable(value: unknown): void {
  if (typeof value === 'number') expect(Math.abs(value)).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER);
  if (typeof value === 'object' && value !== null) {
    expect([Object.prototype, Array.prototype]).toContain(Object.getPrototypeOf(value));
    Object.values(value).forEach(expectUsable);
  }
}

test('what is damaged is valid to begin with', async () => {
  for (const run of RUNS.slice(0, -1)) expect(await read(JSON.stringify(run))).toBeDefined();
});

test('a run of another structure or damaged is resolved, or refused with a code', async () => {
  const content = fc
    .constantFrom(...RUNS)
    .chain((run) =>
      fc.oneof(
        { weight: 3, arbitrary: mutated(run).map((changed) => JSON.stringify(changed)) },
        { weight: 1, arbitrary: damagedText(run) },
      ),
    );
  await fc.assert(
    fc.asyncProperty(content, async (text) => expectUsable(await read(text))),
    { seed: 10, numRuns: 2000 },
  );
});

test('any bytes are refused with a code', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
      expect(await read(bytes)).toBeUndefined();
    }),
    { seed: 11, numRuns: 500 },
  );
});

const MEGABYTE = 2 ** 20;
const inData = (value: string): string => `{"model":{"type":"gpt2"},"data":{"text":${value}}}`;
test.each<[string, string]>([
  ['brackets', '['.repeat(4 * MEGABYTE - 1)],
  ['objects', '{"model":'.repeat(400_000)],
  ['arrays that end', inData('['.repeat(MEGABYTE) + ']'.repeat(MEGABYTE))],
  ['unknown keys', `{${Array.from({ length: 200_000 }, (_, i) => `"k${i}":1`).join()}}`],
  ['empty names', inData(`[${'"",'.repeat(200_000)}""]`)],
  ['a key', `{"${'y'.repeat(4 * MEGABYTE - 10)}":0}`],
  ['a number', `{"model":${'9'.repeat(4 * MEGABYTE - 20)}}`],
  ['backslashes', `{"model":"${'\\'.repeat(4 * MEGABYTE - 20)}`],
  ['more than 4 MB', ' '.repeat(4 * MEGABYTE + 1)],
])('megabytes of %s are refused with a short message', async (_, content) => {
  writeFileSync(file, content);
  const failure: unknown = await readRunConfig(file).then(
    () => undefined,
    (error: unknown) => error,
  );
  expectCoded(failure, ['ERR_CONFIG']);
});

test('a device without end is refused as a configuration', async () => {
  await expect(readRunConfig('/dev/zero')).rejects.toMatchObject({
    code: 'ERR_CONFIG',
    message: expect.stringContaining('it is a device, not a file') as string,
  });
});
