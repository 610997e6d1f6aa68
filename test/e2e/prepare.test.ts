import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { tinyTokenizer } from '../unit/support/tokenizer';

const PROGRAM = path.resolve(__dirname, '../../dist/cli/main.js');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'prepare-e2e-'));
  writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(tinyTokenizer()));
  writeFileSync(
    path.join(folder, 'book.txt'),
    'the cat sat on the mat and the dog lay on the log.\n'.repeat(200),
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (...args: string[]): SpawnSyncReturns<string> =>
  spawnSync(process.execPath, [PROGRAM, ...args], {
    cwd: folder,
    env: process.env,
    encoding: 'utf8',
    timeout: 60_000,
  });

it('cleans up after a prepare that was killed', async () => {
  writeFileSync(path.join(folder, 'killed.txt'), 'the cat sat on the mat.\n'.repeat(300_000));
  const left = (): string[] => readdirSync(folder).filter((name) => name.startsWith('killed.tmp-'));
  const args = [PROGRAM, 'prepare', 'killed.txt', '--output', 'killed'];
  const child = spawn(process.execPath, args, { cwd: folder, stdio: 'ignore' });
  while (left().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill('SIGKILL');
  await once(child, 'close');
  expect(left()).toHaveLength(1);
  writeFileSync(path.join(folder, 'small.txt'), 'the cat sat on the mat.\n'.repeat(50));
  expect(run('prepare', 'small.txt', '--output', 'killed')).toMatchObject({ status: 0 });
  expect(left()).toEqual([]);
});

it('prepares, trains, resumes and samples with a tokenizer.json', () => {
  const prepared = run('prepare', 'book.txt', '--output', 'book', '--tokenizer', 'tokenizer.json');
  expect(prepared).toMatchObject({ status: 0, stderr: '' });
  const config = {
    model: { type: 'gpt2', nPositions: 16, nEmbd: 16, nLayer: 1, nHead: 2 },
    data: { tokens: 'book' },
    training: { maxSteps: 20, batchSize: 4, learningRate: 1e-2, saveSteps: 10 },
    sampling: { maxNewTokens: 5 },
  };
  writeFileSync(path.join(folder, 'run.json'), JSON.stringify(config));
  const train = ['train', 'run.json', '--device', 'cpu', '--threads', '1'];
  const trained = run(...train);
  expect(trained).toMatchObject({
    status: 0,
    stderr: expect.stringContaining('tokenizer.json tokenizer') as string,
  });
  expect(readdirSync(path.join(folder, 'runs/run/checkpoint-20'))).toContain('tokenizer.json');
  rmSync(path.join(folder, 'runs/run/checkpoint-20'), { recursive: true });
  expect(run(...train)).toMatchObject({
    status: 0,
    stderr: expect.stringContaining('resumed · step 10') as string,
  });
  const sampled = run(
    'sample',
    'runs/run',
    '--prompt',
    'the cat',
    '--max-new-tokens',
    '5',
    '--device',
    'cpu',
  );
  expect(sampled).toMatchObject({ status: 0, stdout: expect.stringMatching(/^the cat/) as string });
});

it('leaves nothing behind when it is interrupted', async () => {
  // At least ten seconds of work; it is stopped after one.
  writeFileSync(
    path.join(folder, 'large.txt'),
    'The quick brown fox, and the lazy dog: a tale.\n'.repeat(600_000),
  );
  const args = ['prepare', 'large.txt', '--output', 'large', '--tokenizer', 'tokenizer.json'];
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: folder,
    env: process.env,
    stdio: 'ignore',
  });
  const exited = once(child, 'exit');
  while (!readdirSync(folder).some((name) => name.startsWith('large.tmp')))
    await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  child.kill('SIGINT');
  expect(await exited).toEqual([130, null]);
  expect(readdirSync(folder).filter((name) => name.startsWith('large'))).toEqual(['large.txt']);
});
