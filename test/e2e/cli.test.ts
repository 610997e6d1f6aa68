import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { config, folder, ON_CPU, PROGRAM, records, tesserae, trained, write } from './support/cli_folder';

beforeAll(() => {
  trained();
});

describe('eval', () => {
  it("measures on the run's own validation data what training measured there", () => {
    const metrics = records(readFileSync(path.join(folder, 'runs', 'run', 'metrics.jsonl'), 'utf8'));
    const trained = metrics.filter(({ type }) => type === 'evaluate').at(-1);
    const { code, out, err } = tesserae(
      ...['eval', config, '--json', '--device', 'cpu', '--batch-size', '4', '--max-batches', '2'],
    );
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({
      type: 'eval',
      checkpoint: path.join(folder, 'runs', 'run', 'checkpoint-5'),
      loss: trained?.['loss'],
      tokens: trained?.['tokens'],
    });
  });
});

describe('export', () => {
  it('writes a folder that is sampled as the run is', () => {
    expect(tesserae('export', 'runs/run', 'published')).toMatchObject({ code: 0, err: '' });
    const text = (of: string): string => tesserae('sample', of, '--seed', '5').out;
    expect(text('published')).toBe(text('runs/run'));
  });
});

describe('sample', () => {
  it('continues each line of a pipe', () => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [PROGRAM, 'sample', 'runs/run', '--interactive', '--json', '--max-new-tokens', '4', '--device', 'cpu'],
      { encoding: 'utf8', env: ON_CPU, cwd: folder, input: 'the cat\nthe dog' },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(records(stdout)).toMatchObject([{ prompt: 'the cat' }, { prompt: 'the dog' }]);
  });

  it('continues the prompt, the same way for the same seed', () => {
    const ask = (seed: string): string => {
      const { code, out, err } = tesserae(
        ...['sample', 'runs/run', '--prompt', 'the cat', '--max-new-tokens', '30', '--seed', seed],
      );
      expect({ code, err }).toEqual({ code: 0, err: '' });
      return out;
    };
    expect(ask('1')).toMatch(/^the cat[^]+\n$/);
    expect(ask('1')).toBe(ask('1'));
    expect(ask('1')).not.toBe(ask('2'));
  });

  it('refuses a folder without a checkpoint', () => {
    const { code, err } = tesserae('sample', folder);
    expect(code).toBe(1);
    expect(err).toMatch(/^error ERR_CHECKPOINT: .* holds no checkpoint/);
  });
});

describe('plan', () => {
  it('prints tables for a chip that the machine does not have', () => {
    const model = write('plan.json', {
      model: { type: 'gpt2', vocabSize: 250, nEmbd: 545, nHead: 5, nLayer: 2, nPositions: 64 },
    });
    const { code, out } = tesserae(
      'plan',
      model,
      '--chip',
      'h100',
      '--precision',
      'bf16',
      '--memory',
      '24GiB',
    );
    expect(code).toBe(0);
    expect(out).toContain('h100');
    expect(out).toMatch(/embd +545→552/);
    expect(out).toMatch(/vocab +250→256/);
    expect(out).toMatch(/transformer\.h\.\*\.mlp\.c_fc +linear +cuBLASLt, chosen on the device +2 /);
    expect(out).toMatch(/largest micro-batch in 24 GiB: \d+ rows/);
  });

  it('pads as the configuration or the command line says', () => {
    const file = write('padded.json', {
      model: { type: 'gpt2', vocabSize: 250, nEmbd: 545, nHead: 5, nLayer: 1, nPositions: 64 },
      padding: 'chip',
    });
    expect(tesserae('plan', file, '--chip', 'h100').out).toMatch(/policy 'chip': .*\n[^]*embd +545→576/);
    const { out } = tesserae('plan', file, '--chip', 'h100', '--padding', 'default');
    expect(out).toMatch(/policy 'default': .*\n[^]*embd +545→552/);
  });

  it('prints JSON', () => {
    const { code, out } = tesserae('plan', config, '--json', '--batch-size', '2');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ rows: 2, lengths: { time: 32 }, precision: 'fp32' });
  });

  it('refuses a chip that it does not know', () => {
    const { code, err } = tesserae('plan', config, '--chip', 'h1000');
    expect(code).toBe(1);
    expect(err).toMatch(/^error ERR_CONFIG: .*h1000.*\n$/);
  });
});

describe('mistakes', () => {
  it.each<[string, string[], number, RegExp]>([
    [
      'no file',
      ['train', 'none.json'],
      1,
      /^error ERR_CONFIG: none\.json can't be read: the file does not exist\n$/,
    ],
    ['an unknown command', ['trian'], 2, /unknown command 'trian'/],
    [
      'an outputDir without a name',
      ['train', 'run.json', '--output-dir', ''],
      2,
      /It must name a folder\.\n/,
    ],
    ['an unknown option', ['train', 'run.json', '--steps'], 2, /unknown option '--steps'/],
    ['a device that is not there', ['train', 'run.json', '--device', 'cuda:77'], 1, /^error ERR_DEVICE: /],
    [
      'a precision that the CPU lacks',
      ['train', 'run.json', '--device', 'cpu', '--precision', 'bf16'],
      1,
      /^error ERR_DEVICE: the CPU computes in fp32/,
    ],
    [
      'a file as outputDir',
      ['train', 'run.json', '--output-dir', 'book.txt'],
      1,
      /^error ERR_CHECKPOINT: .*there is a file where a folder should be: remove it, or write elsewhere\n$/,
    ],
    [
      'an outputDir where no folder can be made',
      ['train', 'run.json', '--output-dir', '/proc/run'],
      1,
      /^error ERR_CONFIG: outputDir '\/proc\/run' can't be written: ENOENT.*\n$/,
    ],
    ['a device that is none', ['train', 'run.json', '--device', 'tpu'], 1, /^error ERR_CONFIG: device 'tpu'/],
  ])('%s', (_what, args, expected, message) => {
    const { code, out, err } = tesserae(...args);
    expect(code).toBe(expected);
    expect(err).toMatch(message);
    expect(out).toBe('');
  });

  it.each<[string, unknown, RegExp]>([
    ['a syntax error', '{\n  "model": {,\n}', /^error ERR_CONFIG: bad\.json:2:13: expected a name/],
    [
      'a misspelt setting',
      { model: { type: 'gpt2', nlayer: 2 } },
      /bad\.json: model\.nlayer is unknown: did you mean nLayer\?/,
    ],
    [
      'a text that is not there',
      { model: { type: 'gpt2' }, data: { text: 'none.txt' }, training: { maxSteps: 1 } },
      /^error ERR_DATA: .*none\.txt/,
    ],
    [
      'a text that is too short',
      { model: { type: 'gpt2', nPositions: 1024 }, data: { text: 'bad.json' }, training: { maxSteps: 1 } },
      /^error ERR_DATA: the text has \d+ tokens/,
    ],
  ])('%s in the configuration', (_what, content, message) => {
    write('bad.json', content);
    const { code, err } = tesserae('train', 'bad.json');
    expect(code).toBe(1);
    expect(err).toMatch(message);
    expect(err.trimEnd()).not.toContain('\n');
    expect(existsSync(path.join(folder, 'runs', 'bad'))).toBe(false);
  });
});

it('doctor: the addon loads, and a tiny model learns in a process of its own', () => {
  const { out, err } = tesserae('doctor', '--json');
  const found = records(out);
  // A GPU that this build can't use, or that is hidden here, is none of it.
  const ofGpus = /^(GPU|driver|cuBLASLt|NCCL|cuda:\d+|test cuda:\d+)$/;
  const problems = found.filter(
    ({ status, subject }) => status === 'problem' && !ofGpus.test(String(subject)),
  );
  expect({ err, problems }).toEqual({ err: '', problems: [] });
  expect(found).toContainEqual({
    status: 'ok',
    subject: 'test cpu',
    text: expect.stringMatching(/^30 steps in .+ \(fp32, x86-64-v\d\), loss 4\.\d+ → [0-3]\.\d+$/) as string,
  });
});
