import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel } from '../../../lib/checkpoint/checkpoint';
import type { BatchRequest, Dataset, DatasetExamples } from '../../../lib/data/dataset';
import { Model } from '../../../lib/models/model';
import { Sampler } from '../../../lib/sampling/sampler';
import { planTraining } from '../../../lib/training/planning';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { Random } from '../support/random';
import { toy } from '../support/toy_family';

/** Images and captions of many lengths; the class is that of the caption's last word, unless the image ends bright. */
const dataset: Dataset = {
  blockSize: 1,
  batch: ({ seed, step, microStep, rows }: BatchRequest) =>
    Promise.resolve(examples(rows, 1000 * seed + 10 * step + microStep)),
  async *evaluationBatches(rows, batches) {
    for (let i = 0; i < Math.min(batches, 2); i++) yield Promise.resolve(examples(rows, 77 + i));
  },
};

function examples(rows: number, seed: number): DatasetExamples {
  const random = new Random(seed);
  const all = Array.from({ length: rows }, () => {
    const [patches, words] = [1 + random.integer(40), 1 + random.integer(20)];
    const image = Float32Array.from({ length: 6 * patches }, () => random.uniform());
    const isBright = random.uniform() < 0.5;
    image.fill(isBright ? 1 : 0, -6);
    const caption = Array.from({ length: words }, () => random.integer(11));
    return { image, caption, label: isBright ? 2 : caption.at(-1)! % 2 };
  });
  return {
    examples: {
      image: all.map(({ image }) => image),
      caption: all.map(({ caption }) => caption),
      label: all.map(({ label }) => label),
    },
  };
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'own-family-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const create = (): Promise<Model> => Model.create(toy(), { device: 'cpu', threads: 1, seed: 3 });
const training = (maxSteps: number, more: object = {}) => ({
  train: dataset,
  evaluation: dataset,
  arguments: {
    ...{
      maxSteps,
      batchSize: 32,
      gradientAccumulationSteps: 2,
      learningRate: 0.01,
      lrScheduler: 'constant' as const,
    },
    ...{ seed: 5, outputDir: path.join(folder, 'run'), saveSteps: 20, loggingSteps: 20, ...more },
  } as const,
});

it('trains, evaluates, saves and resumes, with the same weights as one run', async () => {
  using whole = await create();
  const { evaluation } = await new Trainer(
    whole,
    training(60, { outputDir: path.join(folder, 'whole') }),
  ).train();
  expect(evaluation?.loss).toBeLessThan(0.3);
  expect(evaluation?.tokens).toBe(64);

  using half = await create();
  await new Trainer(half, training(40)).train();
  using resumed = await create();
  const trainer = new Trainer(resumed, training(60));
  expect((await trainer.resume()).step).toBe(40);
  await trainer.train();
  for (const { name } of resumed.graph.parameters)
    expect(await resumed.native.readTensor('parameter', name)).toEqual(
      await whole.native.readTensor('parameter', name),
    );
});

it('is read again from a checkpoint', async () => {
  using model = await create();
  const trainer = new Trainer(model, training(20));
  await trainer.train();
  const { model: loaded, tokenizer } = await loadModel(path.join(folder, 'run'), { device: 'cpu' });
  using read = loaded;
  expect(read.config).toEqual(model.config);
  expect(tokenizer).toBeUndefined();
  expect(await read.native.readTensor('parameter', 'caption.table')).toEqual(
    await model.native.readTensor('parameter', 'caption.table'),
  );
});

it('is planned for its longest rows', () => {
  const plan = planTraining(toy({ hiddenSize: 24 }), { chip: 'h100', arguments: { batchSize: 16 } });
  expect(plan).toMatchObject({ rows: 16, lengths: { patches: 40, words: 50 } });
  expect(plan.tokensPerSecond).toBeCloseTo(16 / plan.stepSeconds, 6);
  expect(plan.largestBatch.rows).toBeGreaterThan(1000);
});

it('has the same loss whatever it is padded to', async () => {
  using model = await create();
  const trainer = new Trainer(model, { arguments: { maxSteps: 9, learningRate: 1e-9 } });
  const one = examples(5, 1).examples;
  const step = async (batch: DatasetExamples) => (await trainer.step(batch)).loss;
  const exact = await step({ examples: one });
  const wide = examples(40, 2).examples;
  await step({ examples: wide }); // a capacity that holds the next batch too, if it is not too large for it
  expect(Math.abs((await step({ examples: one })) - exact)).toBeLessThan(1e-6);
});

it('reports several losses, and trains where one has no target', async () => {
  using model = await Model.create(toy({ wordWeight: 0.5 }), { device: 'cpu', threads: 1, seed: 3 });
  const trainer = new Trainer(model, { arguments: { maxSteps: 9, learningRate: 1e-2 } });
  const image = [new Float32Array(6), new Float32Array(12)];
  const batch = (label: readonly number[], wordTarget: readonly number[][]) =>
    trainer.step({ examples: { image, caption: [[1], [2, 3]], label, wordTarget } });
  const both = await batch([0, 2], [[4], [4, 4]]);
  expect(both.losses).toEqual({ loss: both.loss, word: expect.any(Number) as number });
  expect(both.tokens).toBe(2);
  const one = await batch([-1, -1], [[4], [4, -1]]);
  expect(one).toMatchObject({ applied: true, loss: NaN, losses: { loss: NaN } });
  expect(one.losses!['word']).toBeLessThan(both.losses!['word']!);
  const none = await failureOf('ERR_DATA', () => batch([-1, -1], [[-1], [-1, -1]]));
  expect(none.message).toMatch(/no target of step 3 has a loss/);
});

it('is the family that the tutorial builds', async () => {
  const read = (file: string) => readFile(path.resolve(__dirname, file), 'utf8');
  const page = await read('../../../docs/tutorials/adding_a_model.md');
  const blocks = page.matchAll(/^```ts lib\/models\/captioned_images\.ts\n([^]*?)^```$/gm);
  const here = (await read('../support/captioned_images.ts'))
    .replaceAll("'../../../lib/models/", "'./")
    .replaceAll("'../../../lib/", "'../");
  expect([...blocks].map(([, code]) => code).join('\n')).toBe(here);
});

const broken: [string, Record<string, unknown>, 'ERR_DATA' | 'ERR_SHAPE', RegExp][] = [
  ['no image', { image: undefined }, 'ERR_DATA', /^image is missing/],
  [
    'an input of another model',
    { tokens: [[1]] },
    'ERR_DATA',
    /^tokens is not an input of the model: use image, caption, label/,
  ],
  ['fewer labels than rows', { label: [1] }, 'ERR_SHAPE', /^label has 1 rows, but image has 2/],
  [
    'half a patch',
    { image: [new Float32Array(6), new Float32Array(9)] },
    'ERR_SHAPE',
    /^image\[1\] has 9 numbers: it must have 6 for each/,
  ],
  [
    'too many patches',
    { image: [new Float32Array(6), new Float32Array(6 * 41)] },
    'ERR_DATA',
    /^image\[1\] has 41 positions, more than the model's 40 along 'patches'/,
  ],
  ['an empty caption', { caption: [[1], []] }, 'ERR_DATA', /^caption\[1\] is empty/],
  [
    'a word of another vocabulary',
    { caption: [[1], [11]] },
    'ERR_DATA',
    /caption\[1\]\[0\] is 11; it must be in \[0, 11\)/,
  ],
  ['half a word', { caption: [[1], [1.5]] }, 'ERR_DATA', /^caption\[1\]\[0\] is 1.5: it must be an integer/],
  [
    'a caption that is a text',
    { caption: ['one', 'two'] },
    'ERR_DATA',
    /^caption must be an array with one array of numbers per row/,
  ],
  [
    'a pixel that is a text',
    { image: [['1', 2, 3, 4, 5, 6], new Float32Array(6)] },
    'ERR_DATA',
    /^image\[0\]\[0\] is '1': it must be a number/,
  ],
  ['no rows', { image: [], caption: [], label: [] }, 'ERR_DATA', /^the batch is empty/],
];
it.each(broken)('refuses a batch with %s', async (_, change, code, message) => {
  using model = await create();
  const trainer = new Trainer(model, { arguments: { maxSteps: 1 } });
  const good = { image: [new Float32Array(6), new Float32Array(12)], caption: [[1], [2, 3]], label: [0, 2] };
  const given = Object.fromEntries(
    Object.entries({ ...good, ...change }).filter(([, value]) => value !== undefined),
  );
  const batch = { examples: given } as unknown as DatasetExamples;
  expect((await failureOf(code, () => trainer.step(batch))).message).toMatch(message);
  expect((await trainer.step({ examples: good })).applied).toBe(true);
});

it('says that it reads no tokens where those are needed', async () => {
  using model = await create();
  const message = /needs a model that reads token ids, which 'captioned_images' does not/;
  const trainer = new Trainer(model, { arguments: { maxSteps: 1 } });
  for (const call of [
    () => new Sampler(model),
    () => model.logits([[1, 2]]),
    () => trainer.step({ tokens: [[1, 2]] }),
    () => new Trainer(model, { train: { ...dataset, predictsNext: true }, arguments: { maxSteps: 1 } }),
  ])
    expect((await failureOf('ERR_CONFIG', call)).message).toMatch(message);
});
