import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { main } from '../../../lib/cli/main';
import { bytes } from '../../../lib/cli/options';

let output: { out: string; err: string };
beforeEach(() => {
  output = { out: '', err: '' };
  const collect = (key: 'out' | 'err') => (chunk: unknown) => {
    output[key] += String(chunk);
    return true;
  };
  jest.spyOn(process.stdout, 'write').mockImplementation(collect('out'));
  jest.spyOn(process.stderr, 'write').mockImplementation(collect('err'));
});
afterEach(() => jest.restoreAllMocks());

it.each<[string, number]>([
  ['24GiB', 24 * 2 ** 30],
  ['1.5 gib', 1.5 * 2 ** 30],
  ['16GB', 16e9],
  ['512MiB', 512 * 2 ** 20],
  ['1000', 1000],
])('bytes(%s)', (text, expected) => expect(bytes(text)).toBe(expected));

it.each(['', 'GiB', '-1GiB', '5 parsecs', '0', '1e99GiB'])('bytes refuses %j', (text) => {
  expect(() => bytes(text)).toThrow('such as 24GiB');
});

it.each([
  [['--help']],
  [['train', '--help']],
  [['sample', '--help']],
  [['prepare', '--help']],
  [['average', '--help']],
  [['plan', '--help']],
  [['schedule', '--help']],
  [['doctor', '--help']],
  [['completion', '--help']],
  [['--version']],
])('%j explains itself and succeeds', async (args) => {
  expect(await main(args)).toBe(0);
  expect(output.out).toMatch(args.includes('--help') ? /\$ tesserae/ : /^\d+\.\d+\.\d+/);
});

it.each<[string[], string]>([
  [['trian', 'x.json'], 'Did you mean train?'],
  [['train'], "missing required argument 'config'"],
  [['train', 'x.json', '--max-step', '5'], 'Did you mean --max-steps?'],
  [['train', 'x.json', '--lr', '0.1'], 'Did you mean --learning-rate?'],
  [['train', 'x.json', '--per-device-train-batch-size=4'], 'Did you mean --batch-size?'],
  [['plan', 'x.json', '--per-device-train-batch-size', '4'], 'Did you mean --batch-size?'],
  [['sample', 'x', '--n', '2'], 'Did you mean --num-return-sequences?'],
  [['train', 'x.json', '--max-steps', '0'], 'must be an integer of at least 1'],
  [['train', 'x.json', '--learning-rate', 'fast'], 'must be a number of at least 0'],
  [['plan', 'x.json', '--memory', 'much'], 'such as 24GiB'],
  [['sample', 'x', '--weights', 'best'], 'Allowed choices are trained, ema'],
  [['average', 'x'], 'give what to average'],
  [['completion', 'tcsh'], 'Allowed choices are bash, zsh, fish'],
  [['plan', 'x.json', '--padding', 'none'], 'Allowed choices are default, chip'],
  [['plan', 'x.json', '--precision', 'fp12'], 'Allowed choices are fp32, tf32, fp16, bf16'],
])('%j is wrong usage', async (args, message) => {
  expect(await main(args)).toBe(2);
  expect(output.err).toContain(message);
});

describe('a failing command', () => {
  let folder: string;
  let config: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'main-'));
    config = path.join(folder, 'run.json');
    await writeFile(config, '{"model": {"type": "gpt2", "nEmbd": 544, "nHead": 12}}');
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('says what is wrong in one line', async () => {
    expect(await main(['train', config])).toBe(1);
    expect(output.err).toMatch(
      /^.*error.* ERR_CONFIG: .*run\.json: model\.nEmbd 544 is not a multiple.*headDim 48\n$/,
    );
    expect(output.out).toBe('');
  });

  it('says it as JSON with --json', async () => {
    expect(await main(['plan', config, '--json'])).toBe(1);
    expect(JSON.parse(output.err)).toMatchObject({
      type: 'error',
      code: 'ERR_CONFIG',
      details: { path: 'model.nEmbd', remedies: { nHead: [8, 16], headDim: 48 } },
    });
  });

  it('fails without a checkpoint', async () => {
    expect(await main(['sample', folder])).toBe(1);
    expect(output.err).toMatch(/ERR_CHECKPOINT: '.*' holds no checkpoint/);
  });
});

describe('schedule', () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(path.join(tmpdir(), 'schedule-'))));
  afterAll(() => rm(folder, { recursive: true }));

  const configOf = async (training: object | undefined): Promise<string> => {
    const file = path.join(folder, 'run.json');
    await writeFile(file, JSON.stringify({ model: { type: 'gpt2' }, training }));
    return file;
  };

  it('prints the phases and draws them', async () => {
    const config = await configOf({ maxSteps: 100, learningRate: 0.1, lrScheduler: 'oneCycle' });
    const svg = path.join(folder, 'schedule.svg');
    expect(await main(['schedule', config, '--svg', svg])).toBe(0);
    expect(output.out).toMatch(/^rise +1 – 30 +4e-3 +0\.1$/m);
    expect(output.out).toMatch(/^fall +31 – 100 +0\.09995 +4e-7$/m);
    expect(output.out).toContain('schedule.svg');
    expect(await readFile(svg, 'utf8')).toMatch(/^<svg .*>rise<.*>fall</s);
  });

  it("says which picture can't be written", async () => {
    const config = await configOf({ maxSteps: 100 });
    expect(await main(['schedule', config, '--svg', path.join(folder, 'none', 'schedule.svg')])).toBe(1);
    expect(output.err).toMatch(/ERR_CONFIG.*the picture can't be written: .*ENOENT.*none/);
  });

  it('prints phases and rates as JSON', async () => {
    const config = await configOf({
      maxSteps: 4,
      learningRate: 0.5,
      warmupSteps: 2,
      lrScheduler: 'constant',
    });
    expect(await main(['schedule', config, '--json'])).toBe(0);
    expect(JSON.parse(output.out)).toEqual({
      type: 'schedule',
      phases: [
        { name: 'warmup', start: 0, end: 2 },
        { name: 'constant', start: 2, end: 4 },
      ],
      rates: [0.25, 0.5, 0.5, 0.5],
    });
  });

  it.each([
    [{ maxSteps: 100, minLearningRate: -1 }, /training\.minLearningRate must be a number from 0/],
    [{ maxSteps: 100, warmupSteps: 200 }, /warmupSteps 200 is more than maxSteps 100/],
    [undefined, /training is missing/],
  ])('refuses %j', async (training, message) => {
    expect(await main(['schedule', await configOf(training)])).toBe(1);
    expect(output.err).toMatch(message);
  });

  it('says when the picture can not be written', async () => {
    const config = await configOf({ maxSteps: 10 });
    expect(await main(['schedule', config, '--svg', path.join(folder, 'no', 'such.svg')])).toBe(1);
    expect(output.err).toMatch(/ENOENT/);
  });
});
