import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import { openText, type TextData } from '../../../lib/data/text';
import { Model } from '../../../lib/models/model';
import type { ModelConfig } from '../../../lib/models/families';
import type { Padding, Precision } from '../../../lib/native';
import { Sampler } from '../../../lib/sampling/sampler';
import { planTraining } from '../../../lib/training/planning';
import { Trainer } from '../../../lib/training/trainer';
import { relativeError } from '../support/compare';
import { failureOf } from '../support/errors';
import { bitsOf } from '../support/resuming';
import { toy } from '../support/toy_family';

const small = {
  type: 'gpt2',
  nPositions: 16,
  nLayer: 1,
  embdPdrop: 0.1,
  attnPdrop: 0.2,
  residPdrop: 0.1,
} as const;

/** Sizes that are multiples of nothing, and families that differ in their layouts. */
const models: readonly (readonly [string, ModelConfig])[] = [
  ['545 wide, tied', { ...small, vocabSize: 257, nEmbd: 545, nHead: 5, nInner: 70 }],
  [
    '17 heads of 32, post norm, untied',
    {
      ...small,
      ...{ vocabSize: 257, nEmbd: 544, nHead: 17, nInner: 70 },
      normalization: 'post',
      tieWordEmbeddings: false,
    },
  ],
  ['a vocabulary of 50257', { ...small, vocabSize: 50257, nEmbd: 33, nHead: 3 }],
];

const BOTH = [
  ['default', 'chip'],
  ['chip', 'default'],
] as const;

/**
 * Two policies add the same numbers in another order, so losses differ by rounding in fp32, 6e-8 for each operation. These runs
 * were seen to differ by at most 9e-8; another dropout mask or batch changes a loss by more than 1e-3.
 */
const TOLERANCE = 1e-6;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-padding-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const at = (...names: string[]): string => path.join(folder, ...names);
const live: Model[] = [];
afterEach(() => {
  for (const model of live.splice(0)) model.dispose();
});
async function create(config: ModelConfig, padding: Padding): Promise<Model> {
  const model = await Model.create(config, { device: 'cpu', threads: 1, seed: 3, padding });
  live.push(model);
  return model;
}

const bytesOf = ({ buffer }: Float32Array): Buffer => Buffer.from(buffer as ArrayBuffer);

function expectLosses(actual: readonly number[], expected: readonly number[]): void {
  expect(actual.length).toBeGreaterThan(0);
  expect(actual).toHaveLength(expected.length);
  actual.forEach((loss, i) => expect(Math.abs(loss / expected[i]! - 1)).toBeLessThan(TOLERANCE));
}

async function lossesOf(trainer: Trainer, last = Infinity): Promise<number[]> {
  const losses: number[] = [];
  for await (const event of trainer) {
    if (event.type === 'step') losses.push(event.loss);
    if (event.type === 'save' && event.step >= last) break;
  }
  return losses;
}

describe('the policies', () => {
  const odd = { type: 'gpt2', vocabSize: 50257, nEmbd: 545, nHead: 5, nInner: 2048, nLayer: 1 } as const;
  const physical = (chip: string, precision: Precision, padding?: Padding): Record<string, number> =>
    Object.fromEntries(
      planTraining(odd, { chip, precision, ...(padding === undefined ? {} : { padding }) }).padding.map(
        ({ role, physical }) => [role, physical],
      ),
    );

  it.each([
    ['cpu', 'fp32', 560],
    ['a100', 'fp32', 576],
    ['a100', 'tf32', 576],
    ['h100', 'tf32', 576],
    ['h100', 'bf16', 576],
    ['rtx4090', 'fp16', 576],
  ] as const)('%s in %s', (chip, precision, width) => {
    const standard = { vocabulary: 50304, width: 552, head: 112 };
    expect(physical(chip, precision)).toEqual(standard);
    expect(physical(chip, precision, 'default')).toEqual(standard);
    expect(physical(chip, precision, 'chip')).toEqual({ vocabulary: 50304, width, head: 112 });
  });

  it.each([
    ['cpu', 'fp32', 16],
    ['a100', 'tf32', 32],
    ['h100', 'fp32', 32],
    ['h100', 'bf16', 64],
    ['a100', 'fp16', 64],
  ] as const)('%s in %s: widths to multiples of %d, heads to 8 with the reason', (chip, precision, width) => {
    const plan = planTraining(odd, { chip, precision, padding: 'chip' });
    expect(plan.paddingPolicy).toMatchObject({ name: 'chip', vocabulary: 64, width, head: 8 });
    expect(plan.paddingPolicy.why).toMatch(/heads stay at 8/);
    const bits = precision === 'bf16' || precision === 'fp16' ? 16 : 32;
    expect(plan.padding.find(({ role }) => role === 'width')!.why).toBe(
      `a multiple of ${width} keeps each row of ${bits}-bit numbers at a multiple of ${(width * bits) / 8} bytes`,
    );
    // Nobody measured a width of this policy, nor a head.
    for (const { role, buys } of plan.padding)
      if (role !== 'vocabulary') expect(buys).toBe('not measured on this chip in this precision');
  });

  it('leave heads of 32 as they are', () => {
    const heads = { ...odd, nEmbd: 544, nHead: 17 };
    const { padding } = planTraining(heads, { chip: 'h100', padding: 'chip' });
    expect(padding.map(({ axis, physical }) => [axis, physical])).toEqual([
      ['vocab', 50304],
      ['embd', 576],
    ]);
  });

  it('have no other names', async () => {
    for (const padding of ['Chip', 'none', 64, null, { width: 64 }] as unknown as Padding[]) {
      const made = await failureOf('ERR_CONFIG', () =>
        create({ ...small, vocabSize: 32, nEmbd: 8, nHead: 1 }, padding),
      );
      expect(made.message).toMatch(/padding.*'default'.*'chip'/);
      expect(() => planTraining(odd, { padding })).toThrow(/padding.*'default'.*'chip'/);
    }
  });
});

describe.each(models)('%s', (_, config) => {
  let data: TextData;
  beforeEach(async () => {
    await writeFile(at('text.txt'), Array.from({ length: 400 }, (_unused, i) => (i * i) % 97).join(' '));
    data = await openText(at('text.txt'), { blockSize: 16 });
  });
  afterEach(() => data[Symbol.asyncDispose]());

  /** A trainer that saves in the middle of its run, and keeps moments and a moving average. */
  const trainerOf = async (padding: Padding, outputDir: string): Promise<Trainer> =>
    new Trainer(await create(config, padding), {
      arguments: {
        ...{ maxSteps: 6, batchSize: 2, learningRate: 1e-3, emaDecay: 0.9, seed: 7 },
        ...{ saveSteps: 3, loggingSteps: 1, outputDir },
      },
      train: data.train,
    });

  it('begins with the same weights, and learns the same with dropout', async () => {
    const [first, second] = [await trainerOf('default', at('a')), await trainerOf('chip', at('b'))];
    expect(first.model.native.info.layoutHash).not.toBe(second.model.native.info.layoutHash);
    for (const { name } of first.model.graph.parameters) {
      const [one, other] = [first, second].map(({ model }) => model.native.readTensor('parameter', name));
      expect(Buffer.compare(bytesOf(await one!), bytesOf(await other!))).toBe(0);
    }
    expectLosses(await lossesOf(second), await lossesOf(first));
  });

  it.each(BOTH)('continues training under %s padding with %s', async (before, after) => {
    const whole = await trainerOf(before, at('whole'));
    const losses = await lossesOf(whole);
    const cut = await trainerOf(before, at('cut'));
    await lossesOf(cut, 3);
    const resumed = await trainerOf(after, at('cut'));
    const { step, differences } = await resumed.resume();
    expect(step).toBe(3);
    expect(differences).toEqual([
      expect.stringMatching(/^layoutHash was/),
      `padding was '${before}', but is '${after}' now`,
    ]);
    const same = await trainerOf(before, at('cut'));
    await same.resume();
    expect(await bitsOf(resumed.model, resumed.arguments)).toEqual(await bitsOf(same.model, same.arguments));
    expectLosses(await lossesOf(resumed), losses.slice(3));
  });

  it.each(BOTH)('writes under %s padding the file that %s reads and writes again', async (before, after) => {
    using model = await create(config, before);
    await saveModel(model, at('first'), { tokenizer: data.tokenizer });
    const { model: loaded } = await loadModel(at('first'), { device: 'cpu', threads: 1, padding: after });
    using second = loaded;
    expect(second.padding).toBe(after);
    await saveModel(second, at('second'), { tokenizer: data.tokenizer });
    for (const name of ['model.safetensors', 'config.json'])
      expect((await readFile(at('second', name))).equals(await readFile(at('first', name)))).toBe(true);
    const one = await model.logits([[1, 2, 3]]);
    const other = await second.logits([[1, 2, 3]]);
    expect(other.shape).toEqual(one.shape);
    expect(relativeError(other.data, one.data)).toBeLessThan(TOLERANCE);
    const sampled = (from: Model) => new Sampler(from).generate([1, 2, 3], { maxNewTokens: 8, seed: 1 });
    expect(await sampled(second)).toEqual(await sampled(model));
  });
});

it('is an option of a model of another family too', async () => {
  const example = {
    image: [Float32Array.from({ length: 12 }, (_, i) => i / 12)],
    caption: [[1, 2]],
    label: [1],
  };
  const lossesWith = async (padding: Padding): Promise<number[]> => {
    using model = await create(toy({ hiddenSize: 24 }), padding);
    const trainer = new Trainer(model, { arguments: { maxSteps: 9, learningRate: 1e-3 } });
    const losses: number[] = [];
    for (let i = 0; i < 4; i++) losses.push((await trainer.step({ examples: example })).loss);
    return losses;
  };
  expectLosses(await lossesWith('chip'), await lossesWith('default'));
});
