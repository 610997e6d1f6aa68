import path from 'node:path';
import type { Model, ModelOptions } from '../../../lib/models/model';
import { momentsOf } from '../../../lib/training/optimizer_settings';
import type { TrainingArguments } from '../../../lib/training/arguments';
import { Trainer } from '../../../lib/training/trainer';
import { countingDataset, tinyModel } from './tiny_model';

/** Optimizers that together keep every kind of State. */
export const resumedArguments: readonly (readonly [string, Partial<TrainingArguments>])[] = [
  ['adam', { optim: 'adam', weightDecay: 0.1 }],
  ['sgd', { optim: 'sgd' }],
  [
    'sgd with Nesterov and a cycled momentum',
    {
      optim: 'sgd',
      momentum: 0.9,
      nesterov: true,
      lrScheduler: 'oneCycle',
      lrSchedulerKwargs: { cycleMomentum: true },
    },
  ],
  ['radam with an average', { optim: 'radam', weightDecay: 0.1, emaDecay: 0.9 }],
  [
    'adamw with an average, groups and smoothing',
    {
      emaDecay: 0.8,
      labelSmoothing: 0.1,
      labelSmoothingType: 'others',
      parameterGroups: [
        { match: '*.ln_1.*', trainable: false },
        { match: '*.mlp.*', learningRateScale: 0.5 },
      ],
    },
  ],
];

/** A trainer of a tiny model with dropout, whose run is of 12 steps and saves at the fifth. */
export async function smallTrainer(
  args: Partial<TrainingArguments>,
  options: ModelOptions = {},
): Promise<Trainer> {
  return new Trainer(await tinyModel({ embdPdrop: 0.2, attnPdrop: 0.1 }, options), {
    arguments: { maxSteps: 12, batchSize: 2, learningRate: 1e-2, saveSteps: 5, seed: 7, ...args },
    train: countingDataset(),
  });
}

/** Every bit of the parameters, the counters and, if present, the moments and the average. */
export async function bitsOf(model: Model, args: Trainer['arguments']): Promise<unknown> {
  const kinds = [
    'parameter',
    ...Object.values(momentsOf(args)),
    ...(args.emaDecay > 0 ? ['ema' as const] : []),
  ] as const;
  const tensors: [string, string][] = [];
  for (const { name } of model.native.info.parameters)
    for (const kind of kinds) {
      const values = await model.native.readTensor(kind, name);
      tensors.push([`${kind} ${name}`, Buffer.from(values.buffer).toString('base64')]);
    }
  return { tensors, counters: await model.native.counters(), scaler: await model.native.scaler() };
}

/** Checks that a run resumed at its fifth step ends with the same bits as an uninterrupted one. */
export async function checkResumes(
  folder: string,
  args: Partial<TrainingArguments>,
  options: ModelOptions = {},
): Promise<void> {
  const whole = await smallTrainer({ ...args, outputDir: path.join(folder, 'whole') }, options);
  await whole.train();
  const cut = await smallTrainer({ ...args, outputDir: path.join(folder, 'cut') }, options);
  for await (const event of cut) if (event.type === 'save') break;
  const resumed = await smallTrainer({ ...args, outputDir: path.join(folder, 'cut') }, options);
  expect(await resumed.resume()).toMatchObject({ step: 5, differences: [] });
  await resumed.train();
  expect(await bitsOf(resumed.model, resumed.arguments)).toEqual(await bitsOf(whole.model, whole.arguments));
}
