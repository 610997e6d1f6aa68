import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { config, folder, ON_CPU, PROGRAM, records, tesserae, trained, write } from './support/cli_folder';

let run: ReturnType<typeof tesserae>;
beforeAll(() => {
  run = trained();
});

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

  it('resumes under another padding policy, and says so', () => {
    const { model, data, training } = JSON.parse(readFileSync(config, 'utf8')) as Record<string, object>;
    const odd = { ...model, nEmbd: 33, nHead: 3 };
    const given = { model: odd, data, training: { ...training, maxSteps: 2 }, sampling: { maxNewTokens: 0 } };
    const file = write('padded.json', { ...given, padding: 'chip' });
    const begun = tesserae('train', file, '--device', 'cpu');
    expect({ code: begun.code, err: begun.err }).toMatchObject({ code: 0 });
    const again = ['--device', 'cpu', '--padding', 'default', '--max-steps', '3'];
    const { code, err } = tesserae('train', file, ...again);
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(err).toContain("padding was 'chip', but is 'default' now");
    expect(err).toContain('resumed · step 2');
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
  // Sorted: when a checkpoint is reported depends on the disk.
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

  it('continues from the last checkpoint, and repeats no step in the metrics', () => {
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

  it('continues if you give it more steps', () => {
    cpSync(path.join(folder, 'runs', 'more'), path.join(folder, 'runs', 'longer'), { recursive: true });
    const { code, err, out } = again('--output-dir', 'runs/longer', '--max-steps', '6', '--json');
    expect(code).toBe(0);
    expect(err).toMatch(
      /^not bit for bit .* because maxSteps was 4, but is 6 now: .* the rate was .*, and becomes .*\n$/,
    );
    expect(records(out).map(({ type, step }) => `${String(type)} ${String(step)}`)).toEqual(
      expect.arrayContaining(['resume 4', 'save 6', 'end 6']),
    );
  });

  it('refuses a folder with a model, which eval and sample would still find', () => {
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
        /^error ERR_CONFIG: another process is training into outputDir 'shared': .*\n$/,
      ) as string,
    });
    rmSync(path.join(folder, 'shared'), { recursive: true });
    expect(again('--output-dir', 'shared')).toMatchObject({ code: 0 });
  });

  it('says that a checkpoint is damaged, and uses the previous one', () => {
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
    expect(err).toMatch(/^error ERR_CHECKPOINT: .* training\.batchSize was \d+, but is 9 now/);
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

  it('refuses one with other tokens, and a folder without one', () => {
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
  it('shows where the time goes, draws it, and leaves the run unchanged', () => {
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
