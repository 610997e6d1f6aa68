import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel } from '../../../lib/checkpoint/checkpoint';
import { readSafetensors } from '../../../lib/checkpoint/safetensors';
import { resolveTrainingArguments, type TrainingArguments } from '../../../lib/training/arguments';
import { kernelSmoothing } from '../../../lib/training/label_smoothing';
import { parameterSettings, type ParameterGroup } from '../../../lib/training/parameter_groups';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { checkResumes, resumedArguments, smallTrainer } from '../support/resuming';
import { disposeModels, tinyModel } from '../support/tiny_model';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-optimizers-'));
});
afterEach(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

const batch = { tokens: [[1, 2, 3, 4, 5]] };
const namesIn = async (file: string): Promise<string[]> => {
  const opened = await readSafetensors(file);
  await opened.close();
  return [...opened.tensors.keys()];
};

describe('checkpoints', () => {
  it.each(resumedArguments)('of %s are resumed bit by bit', async (_, args) => {
    await checkResumes(folder, args);
  });

  it.each([
    [{ optim: 'adam' }, ['exp_avg', 'exp_avg_sq']],
    [{ optim: 'radam' }, ['exp_avg', 'exp_avg_sq']],
    [{ optim: 'sgd', momentum: 0.5 }, ['momentum_buffer']],
  ] as const)('of %j hold its moments by the names of PyTorch', async (args, moments) => {
    const trainer = await smallTrainer({ ...args, outputDir: folder });
    await trainer.step(batch);
    const names = await namesIn(path.join(await trainer.save(), 'optimizer.safetensors'));
    const suffixes = new Set(names.map((name) => name.split('.').at(-1)));
    expect([...suffixes].sort()).toEqual(moments);
  });

  it('of an optimizer without moments have no file for them', async () => {
    const trainer = await smallTrainer({ optim: 'sgd', outputDir: folder });
    await trainer.step(batch);
    expect((await readdir(await trainer.save())).sort()).toEqual([
      'config.json',
      'manifest.json',
      'model.safetensors',
      'trainer_state.json',
    ]);
  });

  it('hold the moving average, which can be loaded in place of the weights', async () => {
    const trainer = await smallTrainer({ emaDecay: 0.5, outputDir: folder });
    for (let step = 0; step < 3; step++) await trainer.step(batch);
    const saved = await trainer.save();
    const name = 'transformer.wte.weight';
    const manifest = JSON.parse(await readFile(path.join(saved, 'manifest.json'), 'utf8')) as {
      files: object;
    };
    expect(Object.keys(manifest.files)).toContain('model_ema.safetensors');
    expect(await namesIn(path.join(saved, 'model_ema.safetensors'))).toEqual(
      await namesIn(path.join(saved, 'model.safetensors')),
    );
    const read = async (weights?: 'trained' | 'ema'): Promise<Float32Array> => {
      const { model } = await loadModel(saved, { device: 'cpu', ...(weights ? { weights } : {}) });
      using _model = model;
      return model.native.readTensor('parameter', name);
    };
    const { native } = trainer.model;
    expect(await read()).toEqual(await native.readTensor('parameter', name));
    expect(await read('ema')).toEqual(await native.readTensor('ema', name));
    expect(await read('ema')).not.toEqual(await read('trained'));
  });

  it('without an average say so', async () => {
    const trainer = await smallTrainer({ outputDir: folder });
    await trainer.step(batch);
    const saved = await trainer.save();
    const failure = await failureOf('ERR_CHECKPOINT', () => loadModel(saved, { weights: 'ema' }));
    expect(failure.message).toContain('emaDecay');
    const wrong = { weights: 'best' as 'ema' };
    expect((await failureOf('ERR_CONFIG', () => loadModel(saved, wrong))).details['path']).toBe('weights');
  });

  it('of one optimizer are not resumed with another', async () => {
    const trainer = await smallTrainer({ outputDir: folder });
    await trainer.step(batch);
    await trainer.save();
    const other = await smallTrainer({ optim: 'adam', weightDecay: 0.1, outputDir: folder });
    const failure = await failureOf('ERR_CHECKPOINT', () => other.resume());
    expect(failure.details['differences']).toEqual(["training.optim was 'adamw', but is 'adam' now"]);
  });
});

describe('arguments', () => {
  const resolve = (args: Partial<TrainingArguments>) => resolveTrainingArguments({ maxSteps: 4, ...args });

  it('have only the settings of their optimizer', () => {
    expect(resolve({ optim: 'sgd' })).toMatchObject({ weightDecay: 0, momentum: 0, nesterov: false });
    expect(resolve({ optim: 'sgd' })).not.toHaveProperty('adamBeta1');
    expect(resolve({})).not.toHaveProperty('momentum');
    expect(resolve({ optim: 'adam' })).toMatchObject({ weightDecay: 0, adamBeta1: 0.9, adamBeta2: 0.95 });
    expect(resolve({ optim: 'radam' })).toMatchObject({
      radamFirstSteps: 'torch',
      decoupledWeightDecay: false,
    });
    expect(resolve({ optim: 'radam', radamFirstSteps: 'none' })).toMatchObject({
      decoupledWeightDecay: true,
    });
  });

  it.each(['adamw', 'adam', 'sgd', 'radam'] as const)('of %s resolve to themselves', (optim) => {
    const resolved = resolve({ optim, parameterGroups: [{ match: '*', weightDecay: 1 }] });
    expect(resolveTrainingArguments(resolved)).toEqual(resolved);
  });

  it.each([
    ['optim', { optim: 'adamW8' as 'adamw' }, /one of 'adamw', 'adam', 'sgd', 'radam'/],
    ['momentum', { momentum: 0.9 }, /belongs to 'sgd', but optim is 'adamw'/],
    ['adamBeta1', { optim: 'sgd', adamBeta1: 0.8 }, /belongs to 'adamw', 'adam', 'radam'/],
    ['radamFirstSteps', { optim: 'adam', radamFirstSteps: 'none' }, /belongs to 'radam'/],
    ['nesterov', { optim: 'sgd', nesterov: true }, /momentum is 0/],
    ['momentum', { optim: 'sgd', momentum: 1 }, /below 1/],
    ['emaDecay', { emaDecay: 1 }, /below 1/],
    [
      'momentum',
      { optim: 'sgd', lrScheduler: 'oneCycle', lrSchedulerKwargs: { cycleMomentum: true } },
      /cycleMomentum/,
    ],
    ['parameterGroups[0]', { parameterGroups: [{ match: '*' }] }, /changes nothing/],
    [
      'parameterGroups[0]',
      { parameterGroups: [{ match: '*', trainable: false, weightDecay: 0 }] },
      /not trainable/,
    ],
    [
      'parameterGroups[0].learningRateScale',
      { parameterGroups: [{ match: '*', learningRateScale: 0 }] },
      /above 0/,
    ],
  ] as [string, Partial<TrainingArguments>, RegExp][])('refuse %s in %j', async (where, args, message) => {
    const failure = await failureOf('ERR_CONFIG', () => resolve(args));
    expect(failure.details['path']).toBe(where);
    expect(failure.message).toMatch(message);
  });
});

describe('parameter groups', () => {
  const names = [
    'h.0.ln_1.weight',
    'h.0.mlp.c_fc.weight',
    'h.0.mlp.c_fc.bias',
    'h.1.mlp.c_fc.weight',
    'wte.weight',
  ];
  const matched = (match: string): string[] =>
    Object.keys(parameterSettings([{ match, weightDecay: 0.5 }], names));

  it.each([
    ['wte.weight', ['wte.weight']],
    ['*', names],
    ['**', names],
    ['*.bias', ['h.0.mlp.c_fc.bias']],
    ['h.*.mlp.*.weight', ['h.0.mlp.c_fc.weight', 'h.1.mlp.c_fc.weight']],
    ['h.0.*', names.slice(0, 3)],
    ['*mlp*', names.slice(1, 4)],
    ['h.*h.*', names.slice(0, 0)],
    ['wte.weight*weight', names.slice(0, 0)],
    ['h.?.*', names.slice(0, 0)],
    ['(w+)+te.weight', names.slice(0, 0)],
  ])('%s matches %j', async (match, expected) => {
    if (expected.length > 0) expect(matched(match)).toEqual(expected);
    else await failureOf('ERR_CONFIG', () => matched(match));
  });

  it('leave a parameter to the first that matches', () => {
    const groups: ParameterGroup[] = [
      { match: 'h.0.*', learningRateScale: 0.5 },
      { match: 'h.*', trainable: false },
    ];
    const settings = parameterSettings(groups, names);
    expect(settings['h.0.mlp.c_fc.bias']).toEqual({ learningRateScale: 0.5 });
    expect(settings['h.1.mlp.c_fc.weight']).toEqual({ trainable: false });
    expect(settings).not.toHaveProperty(['wte.weight']);
  });

  it.each([
    ['parameterGroups[0].match', [{ match: 'wte.wieght', weightDecay: 0 }], /did you mean 'wte.weight'/],
    ['parameterGroups[0].match', [{ match: '*.mpl.*', weightDecay: 0 }], /did you mean 'mlp'/],
    ['parameterGroups[0].match', [{ match: 'h.0.mlp.c_fx*', weightDecay: 0 }], /did you mean 'h.0.mlp.c_fc'/],
    [
      'parameterGroups[0].match',
      [{ match: 'decoder.*', weightDecay: 0 }],
      /names are such as 'h.0.ln_1.weight'/,
    ],
    [
      'parameterGroups[1].match',
      [
        { match: 'h.*', weightDecay: 0 },
        { match: '*.bias', weightDecay: 1 },
      ],
      /earlier groups/,
    ],
    ['parameterGroups', [{ match: '*', trainable: false }], /no parameter to train/],
  ] as [string, ParameterGroup[], RegExp][])('refuse %s of %j', async (where, groups, message) => {
    const failure = await failureOf('ERR_CONFIG', () => parameterSettings(groups, names));
    expect(failure.details['path']).toBe(where);
    expect(failure.message).toMatch(message);
  });

  it('are refused if they match no parameter; a fixed table does not count', async () => {
    const model = await tinyModel({ positions: 'sinusoidal' });
    const create = (match: string) => () =>
      new Trainer(model, { arguments: { maxSteps: 1, parameterGroups: [{ match, weightDecay: 0 }] } });
    await failureOf('ERR_CONFIG', create('transformer.wpe.weight'));
    expect(create('transformer.wte.weight')()).toBeInstanceOf(Trainer);
  });
});

describe('label smoothing', () => {
  const smoothed = async (args: Partial<TrainingArguments>): Promise<number> =>
    (await (await smallTrainer(args)).step(batch)).loss;

  it('over the others is that over all tokens with more of it', async () => {
    // ε V / (V − 1), for which (1 − ε') onehot + ε' / V is 1 − ε for the target and ε / (V − 1) for each other token.
    expect(kernelSmoothing({ labelSmoothing: 0.1, labelSmoothingType: 'others' }, 5)).toBeCloseTo(0.125, 15);
    const others = await smoothed({ labelSmoothing: 0.2, labelSmoothingType: 'others' });
    expect(others).toBe(await smoothed({ labelSmoothing: (0.2 * 32) / 31 }));
    expect(others).not.toBe(await smoothed({ labelSmoothing: 0.2 }));
  });

  it('that leaves the target no more than the others is refused', async () => {
    const labelSmoothingType = 'others';
    expect(kernelSmoothing({ labelSmoothing: 0.79, labelSmoothingType }, 5)).toBeLessThan(1);
    const failure = await failureOf('ERR_CONFIG', () =>
      // It is 1 of what the kernels get in fp32, though not in fp64.
      kernelSmoothing({ labelSmoothing: 0.8 - 1e-9, labelSmoothingType }, 5),
    );
    expect(failure.details['path']).toBe('labelSmoothing');
  });
});
