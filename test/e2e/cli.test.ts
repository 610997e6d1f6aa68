import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

// What is compared here was computed on the CPU, whatever else the machine has.
const ON_CPU = { ...process.env, CUDA_VISIBLE_DEVICES: '' };
const PROGRAM = path.resolve(__dirname, '../../dist/cli/main.js');

let folder: string;
let config: string;
/** Training by `config` into runs/run, which most of the tests start from. */
let run: ReturnType<typeof tesserae>;
beforeAll(() => {
  // Its real name, by which programs that run there show paths: the folder of temporary files may be a link.
  folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'cli-')));
  writeFileSync(
    path.join(folder, 'book.txt'),
    'the cat sat on the mat and the dog lay on the log. '.repeat(40),
  );
  config = write('run.json', {
    model: { type: 'gpt2', nPositions: 32, nEmbd: 32, nLayer: 2, nHead: 2, residPdrop: 0, attnPdrop: 0 },
    data: { text: 'book.txt' },
    training: {
      maxSteps: 5,
      batchSize: 4,
      learningRate: 1e-3,
      loggingSteps: 1,
      evalSteps: 2,
      evalBatches: 2,
      seed: 3,
    },
    sampling: { prompt: 'the ', maxNewTokens: 20 },
  });
  run = tesserae('train', config, '--device', 'cpu', '--threads', '1');
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, content: unknown): string {
  const file = path.join(folder, name);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

function tesserae(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
    encoding: 'utf8',
    env: ON_CPU,
    cwd: folder,
  });
  return { code: status, out: stdout, err: stderr };
}

/** The lines of a JSON-lines text. */
const records = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('train', () => {
  const output = (...names: string[]): string => path.join(folder, 'runs', 'run', ...names);

  it('says what it trains and how it ended', () => {
    expect({ code: run.code, err: run.err }).toMatchObject({ code: 0 });
    expect(run.err).toMatch(/^gpt2 · [\d.]+ k parameters · cpu \(1 thread, [\w-]+\) · fp32\n/);
    expect(run.err).toMatch(/step 2 · validation loss \d\.\d{4}\n/);
    expect(run.out).toContain('training loss');
    expect(run.out).toMatch(/trained +5 steps, 640 tokens in \d+s\n/);
    expect(run.out).toMatch(/checkpoint +runs\/run\/checkpoint-5\n/);
    expect(run.out).toContain('sample\nthe ');
  });

  it('says that it stopped early', () => {
    // At a rate of 0 no evaluation is better than the first.
    const settings = { maxSteps: 9, batchSize: 2, learningRate: 0, evalSteps: 2, earlyStopping: {} };
    const { model, data } = JSON.parse(readFileSync(config, 'utf8')) as Record<string, unknown>;
    const early = write('early.json', { model, data, training: settings, sampling: { maxNewTokens: 0 } });
    const { code, out } = tesserae('train', early, '--device', 'cpu', '--threads', '1');
    expect({ code, out }).toMatchObject({ code: 0 });
    expect(out).toMatch(/trained +4 steps/);
    expect(out).toMatch(/stopped +early/);
  });

  it('shows a sample of a model with more rows than the tokenizer has tokens', () => {
    const { model, data } = JSON.parse(readFileSync(config, 'utf8')) as Record<string, object>;
    const sampling = { maxNewTokens: 3, prompt: 'the ' };
    const settings = { maxSteps: 1, batchSize: 2 };
    const given = { model: { ...model, vocabSize: 320 }, data, training: settings, sampling };
    const wide = write('wide.json', given);
    const { code, out } = tesserae('train', wide, '--device', 'cpu', '--threads', '1');
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining('sample\nthe ') as string });
  });

  it('leaves metrics, a loss curve and a checkpoint', () => {
    const metrics = records(readFileSync(output('metrics.jsonl'), 'utf8'));
    expect(metrics.map(({ type, step }) => `${String(type)} ${String(step)}`)).toEqual([
      'step 1',
      'step 2',
      'evaluate 2',
      'step 3',
      'step 4',
      'evaluate 4',
      'step 5',
      'evaluate 5',
      'save 5',
      'end 5',
    ]);
    expect(metrics[0]).toHaveProperty('tokens_per_second');
    expect(metrics[0]?.['loss']).toBeCloseTo(Math.log(256), 0);
    expect(readFileSync(output('loss.svg'), 'utf8')).toMatch(/^<svg [^]*<\/svg>\n$/);
    expect(readdirSync(output('checkpoint-5')).sort()).toEqual([
      'config.json',
      'manifest.json',
      'model.safetensors',
      'optimizer.safetensors',
      'trainer_state.json',
    ]);
  });

  it('gives the same losses for the same seed, as JSON lines too', () => {
    const again = tesserae('train', config, '--json', '--output-dir', 'again', '--threads', '1');
    expect({ code: again.code, err: again.err }).toEqual({ code: 0, err: '' });
    const losses = (lines: Record<string, unknown>[]): unknown[] =>
      lines.filter(({ type }) => type === 'step').map(({ loss }) => loss);
    expect(losses(records(again.out))).toEqual(
      losses(records(readFileSync(output('metrics.jsonl'), 'utf8'))),
    );
    expect(existsSync(path.join(folder, 'again', 'checkpoint-5'))).toBe(true);
  });

  it('stops after the current step when it is interrupted, and saves', async () => {
    const child = spawn(
      process.execPath,
      [PROGRAM, 'train', config, '--json', '--max-steps', '100000', '--output-dir', 'stopped'],
      { env: ON_CPU, cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (out === '') child.kill('SIGINT');
      out += text;
    });
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(130);
    const events = records(out);
    const end = events.at(-1);
    expect(end).toMatchObject({ type: 'end', reason: 'stopped' });
    expect(Number(end?.['step'])).toBeLessThan(100_000);
    expect(existsSync(path.join(folder, 'stopped', `checkpoint-${String(end?.['step'])}`))).toBe(true);
  });
});

describe('train, once more', () => {
  const again = (...args: string[]): ReturnType<typeof tesserae> =>
    tesserae('train', 'more.json', '--device', 'cpu', '--threads', '1', ...args);
  // Sorted: when a checkpoint is told of depends on the disk.
  const steps = (): string[] =>
    records(readFileSync(path.join(folder, 'runs', 'more', 'metrics.jsonl'), 'utf8'))
      .map(({ type, step }) => `${String(type)} ${String(step)}`)
      .sort();
  beforeAll(() => {
    write('more.json', {
      model: { type: 'gpt2', nPositions: 16, nEmbd: 16, nLayer: 1, nHead: 2 },
      data: { text: 'book.txt' },
      training: { maxSteps: 4, batchSize: 2, saveSteps: 2, loggingSteps: 1 },
      sampling: { maxNewTokens: 0 },
    });
    expect(again()).toMatchObject({ code: 0 });
  });

  it('goes on from the last checkpoint, and repeats no step in the metrics', () => {
    const before = steps();
    rmSync(path.join(folder, 'runs', 'more', 'checkpoint-4'), { recursive: true });
    const { code, err, out } = again();
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(err).toMatch(/resumed · step 2 of runs\/more\/checkpoint-2\n/);
    expect(out).toContain('checkpoint-4');
    expect(steps()).toEqual(before);
  });

  it('has nothing to do when all steps are done', () => {
    const before = steps();
    const { code, out } = again('--json');
    expect(code).toBe(0);
    expect(records(out).map(({ type, step }) => `${String(type)} ${String(step)}`)).toEqual([
      'resume 4',
      'end 4',
    ]);
    expect(steps()).toEqual(before);
    const told = again();
    expect({ code, out: told.out }).toMatchObject({ code: 0 });
    expect(told.out).toMatch(/complete +all 4 steps are already done\n/);
    expect(told.out).toMatch(/to continue +raise maxSteps.*\n/);
    expect(told.out).not.toContain('trained ');
  });

  it('goes on when it is given more steps', () => {
    cpSync(path.join(folder, 'runs', 'more'), path.join(folder, 'runs', 'longer'), { recursive: true });
    const { code, err, out } = again('--output-dir', 'runs/longer', '--max-steps', '6', '--json');
    expect(code).toBe(0);
    expect(err).toMatch(
      /^not bit for bit .* because maxSteps was 4, and is 6 now: .* the rate was .*, and becomes .*\n$/,
    );
    expect(records(out).map(({ type, step }) => `${String(type)} ${String(step)}`)).toEqual(
      expect.arrayContaining(['resume 4', 'save 6', 'end 6']),
    );
  });

  it('refuses a folder that is a model, which eval and sample would go on finding', () => {
    expect(tesserae('average', 'runs/more', 'runs/mean', '--last', '2')).toMatchObject({ code: 0 });
    const { code, err } = again('--output-dir', 'runs/mean');
    expect(code).toBe(1);
    expect(err).toMatch(/^error ERR_CONFIG: outputDir 'runs\/mean' is itself a model, .*--output-dir\n$/);
    expect(readdirSync(path.join(folder, 'runs', 'mean')).sort()).toEqual([
      'config.json',
      'model.safetensors',
    ]);
  });

  it('refuses a folder in which another process trains, until that ends, however it does', async () => {
    const args = [
      'train',
      'more.json',
      '--json',
      '--device',
      'cpu',
      '--threads',
      '1',
      '--output-dir',
      'shared',
    ];
    const first = spawn(process.execPath, [PROGRAM, ...args, '--max-steps', '1000000'], {
      ...{ env: ON_CPU, cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] },
    });
    await once(first.stdout, 'data');
    first.stdout.resume();
    const { code, err } = again('--output-dir', 'shared');
    first.kill('SIGKILL');
    await once(first, 'close');
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringMatching(
        /^error ERR_CONFIG: outputDir 'shared' is where another process is training now: .*\n$/,
      ) as string,
    });
    rmSync(path.join(folder, 'shared'), { recursive: true });
    expect(again('--output-dir', 'shared')).toMatchObject({ code: 0 });
  });

  it('says that a checkpoint is damaged, and takes the one before', () => {
    writeFileSync(path.join(folder, 'runs', 'more', 'checkpoint-4', 'optimizer.safetensors'), 'torn');
    const { code, err } = again('--json');
    expect(code).toBe(0);
    expect(err).toMatch(
      /^damaged '.*checkpoint-4\/optimizer\.safetensors' .*: the previous checkpoint is used\n$/,
    );
  });

  it('refuses other arguments, and names them', () => {
    const { code, err } = again('--batch-size', '9');
    expect(code).toBe(1);
    expect(err).toMatch(/^error ERR_CHECKPOINT: .* training\.batchSize was \d+, and is 9 now/);
  });
});

describe('train from a checkpoint', () => {
  const init = (name: string, initFrom: string): ReturnType<typeof tesserae> => {
    write(`${name}.json`, {
      initFrom,
      data: { text: 'book.txt' },
      training: { maxSteps: 2, batchSize: 4, learningRate: 0, loggingSteps: 1, seed: 5 },
      sampling: { maxNewTokens: 0 },
    });
    return tesserae('train', `${name}.json`, '--json', '--device', 'cpu', '--threads', '1');
  };

  it('starts with its weights and its settings', () => {
    const { code, out, err } = init('tuned', 'runs/run');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const before = records(readFileSync(path.join(folder, 'runs', 'run', 'metrics.jsonl'), 'utf8'));
    const trained = before.filter(({ type }) => type === 'step').map(({ loss }) => Number(loss));
    const [first] = records(out);
    // Other rows of the same text: nearer to where training ended than to where it began.
    expect(Number(first?.['loss'])).toBeLessThan((trained[0]! + trained.at(-1)!) / 2);
    const config = (run: string): object =>
      JSON.parse(readFileSync(path.join(folder, 'runs', run, 'config.json'), 'utf8')) as object;
    expect(config('tuned/checkpoint-2')).toMatchObject({
      ...config('run/checkpoint-5'),
      tesserae: expect.anything() as object,
    });
  });

  it('refuses one whose tokens are others, and a folder that is none', () => {
    const fixture = path.resolve(__dirname, '../fixtures/gpt2/lm');
    const other = init('other', fixture);
    expect(other.code).toBe(1);
    expect(other.err).toMatch(
      /"ERR_CONFIG","message":"initFrom '.*lm' has a vocabulary of 37, but the data uses/,
    );
    const none = init('from_nothing', 'runs');
    expect(none.code).toBe(1);
    expect(none.err).toMatch(/"ERR_CHECKPOINT","message":"'.*runs' holds no checkpoint/);
  });
});

describe('train --profile', () => {
  it('tells where the time goes, draws it, and leaves the run as it was', () => {
    const before = readdirSync(path.join(folder, 'runs', 'run')).sort();
    const { code, out, err } = tesserae('train', config, '--profile', '--device', 'cpu', '--threads', '1');
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(err).toMatch(/^gpt2 · /);
    expect(out).toMatch(/transformer\.h\.\*\.mlp\.c_fc +linear +2 .* % +compute\n/);
    expect(out).toMatch(/adamw +1 /);
    expect(out).toMatch(/GEMM +[\d.]+ [mµ]?s +[\d.]+ % +[█░]+\n/);
    expect(out).toMatch(/a step in training +[\d.]+ [mµ]?s, [\d.]+ [kM]? ?tokens\/s\n/);
    expect(out).toMatch(/picture +runs\/run\/profile\.svg\n$/);
    expect(readdirSync(path.join(folder, 'runs', 'run')).sort()).toEqual([...before, 'profile.svg'].sort());
  });

  it('prints JSON', () => {
    const { code, out, err } = tesserae(
      ...['train', config, '--profile', '--json', '--device', 'cpu', '--output-dir', 'profiled'],
    );
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({ chip: 'cpu', rows: 4, lengths: { time: 32 }, precision: 'fp32' });
    expect(readdirSync(path.join(folder, 'profiled'))).toEqual(['profile.svg']);
  });
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
  it('prints tables for a chip that is not there', () => {
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
