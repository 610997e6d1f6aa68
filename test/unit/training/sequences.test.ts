import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel } from '../../../lib/checkpoint/checkpoint';
import type { Dataset } from '../../../lib/data/dataset';
import {
  openSequences,
  type OpenSequencesOptions,
  type SequenceData,
} from '../../../lib/data/sequences/sequences';
import type { Sequence } from '../../../lib/data/sequences/sequence';
import { streamSequences } from '../../../lib/data/sequences/stream';
import type { Model } from '../../../lib/models/model';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { Random } from '../support/random';
import { disposeModels, tinyModel } from '../support/tiny_model';

const random = new Random(1);
/** Two to sixteen tokens that count upwards, with a condition of one token in every third sequence. */
const SEQUENCES: readonly Sequence[] = Array.from({ length: 60 }, (_, i) => {
  const length = 2 + random.integer(15);
  const tokens = Array.from({ length }, (_, t) => (i + t) % 32);
  return i % 3 === 0 && length > 2 ? { tokens, lossMask: tokens.map((_, t) => (t < 2 ? 0 : 1)) } : { tokens };
});
const OPTIONS: OpenSequencesOptions = { vocabSize: 32, blockSize: 16, validationFraction: 0.2 };

const opened: { close(): Promise<void> }[] = [];
async function open(options: Partial<OpenSequencesOptions>): Promise<SequenceData> {
  const data = await openSequences(SEQUENCES, { ...OPTIONS, ...options });
  opened.push(data);
  return data;
}
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-train-sequences-'));
});
afterEach(async () => {
  disposeModels();
  for (const data of opened.splice(0)) await data.close();
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const BATCHINGS: readonly [string, Partial<OpenSequencesOptions>][] = [
  ['pad', {}],
  ['pack', { batching: 'pack' }],
  ['bucket', { batching: 'bucket', maxTokens: 64 }],
];

const weights = async (model: Model): Promise<number[]> => [...(await model.logits([[1, 2, 3, 4]])).data];

function trainerOf(model: Model, train: Dataset, args: object = {}): Trainer {
  return new Trainer(model, {
    train,
    arguments: { maxSteps: 12, batchSize: 4, gradientAccumulationSteps: 2, loggingSteps: 1, ...args },
  });
}

describe.each(BATCHINGS)('training on sequences with %s', (name, options) => {
  it('learns, and evaluates', async () => {
    const data = await open(options);
    const trainer = new Trainer(await tinyModel({ residPdrop: 0 }), {
      train: data.train,
      evaluation: data.validation,
      arguments: { maxSteps: 150, batchSize: 8, learningRate: 1e-2 },
    });
    const before = await trainer.evaluate();
    const { evaluation } = await trainer.train();
    expect(before.loss).toBeGreaterThan(3);
    expect(evaluation?.loss).toBeLessThan(before.loss / 3);
    expect(evaluation?.tokens).toBe(before.tokens);
  });

  it('resumes to the bit at any step, at no cost', async () => {
    const data = await open(options);
    const straight = await tinyModel();
    await trainerOf(straight, data.train).train();
    const outputDir = path.join(folder, name);
    const first = trainerOf(await tinyModel(), data.train, { outputDir });
    for await (const event of first) if (event.type === 'step' && event.step === 7) first.stop();

    const asked: number[] = [];
    const watched = new Proxy(data.train, {
      get: (target, key) =>
        key === 'batch'
          ? (request: Parameters<Dataset['batch']>[0]) => (asked.push(request.step), target.batch(request))
          : (Reflect.get(target, key) as unknown),
    });
    const model = await tinyModel();
    const resumed = trainerOf(model, watched, { outputDir });
    expect((await resumed.resume()).step).toBe(7);
    await resumed.train();
    expect(await weights(model)).toEqual(await weights(straight));
    expect(Math.min(...asked)).toBe(7);

    // Other rows would come next if they were made in another way.
    const other = await open(name === 'pad' ? { batching: 'pack' } : {});
    const failure = await failureOf('ERR_CHECKPOINT', () =>
      trainerOf(model, other.train, { outputDir }).resume(),
    );
    expect(failure.message).toMatch(/orderOfData was '.* 48 sequences of \d+ tokens', but is '/);
  });
});

describe('packed sequences', () => {
  it('have the loss that they have in rows of their own', async () => {
    const model = await tinyModel({ positions: 'learned', nLayer: 2 });
    const evaluated = [];
    for (const [, options] of BATCHINGS) {
      const { train: evaluation } = await open({ ...options, validationFraction: 0 });
      const trainer = new Trainer(model, { evaluation, arguments: { maxSteps: 1, evalBatches: 100 } });
      evaluated.push(await trainer.evaluate());
    }
    const [pad, pack, bucket] = evaluated;
    expect(pack?.tokens).toBe(pad?.tokens);
    expect(bucket?.tokens).toBe(pad?.tokens);
    // The same sums in another order: a few roundings of fp32, each 6e-8 of the loss.
    expect(Math.abs((pack?.loss ?? NaN) / (pad?.loss ?? NaN) - 1)).toBeLessThan(1e-6);
    expect(Math.abs((bucket?.loss ?? NaN) / (pad?.loss ?? NaN) - 1)).toBeLessThan(1e-6);
  });

  it('give the gradients that they have in rows of their own', async () => {
    const sequences = SEQUENCES.slice(0, 20);
    const trained = [];
    for (const batching of ['pad', 'pack'] as const) {
      const data = await openSequences(sequences, { ...OPTIONS, batching, validationFraction: 0 });
      opened.push(data);
      const model = await tinyModel({ residPdrop: 0, nLayer: 2 });
      // Every sequence in each step, so that both see the same. Gradients of AdamW's first step are their signs: SGD would
      // show more, a large epsilon does as well.
      const batchSize = data.sizes.train.rows;
      await trainerOf(model, data.train, {
        batchSize,
        gradientAccumulationSteps: 1,
        maxSteps: 3,
        adamEpsilon: 1,
        learningRate: 1,
        lrScheduler: 'constant',
        weightDecay: 0,
      }).train();
      trained.push(await weights(model));
    }
    const [pad = [], pack = []] = trained;
    const size = Math.max(...pad.map(Math.abs));
    // Three steps of sums in another order, each rounded in fp32.
    pad.forEach((value, i) => expect(Math.abs(value - (pack[i] ?? NaN))).toBeLessThan(1e-5 * size));
  });
});

describe('a dataset of sequences', () => {
  it('is compared with the model before anything runs', async () => {
    const { train } = await open({ vocabSize: 33 });
    const model = await tinyModel();
    const vocabulary = await failureOf('ERR_CONFIG', () => trainerOf(model, train));
    expect(vocabulary.message).toMatch(/dataset has vocabSize 33, but the model has 32/);
    const typed = await tinyModel({ nTypes: 2 });
    const plain = await open({});
    const types = await failureOf('ERR_CONFIG', () => trainerOf(typed, plain.train));
    expect(types.message).toMatch(/dataset has nTypes 0, but the model has 2/);
    const other = await open({ ignoreIndex: -1 });
    await failureOf('ERR_CONFIG', () => trainerOf(model, other.train));
  });

  it('trains an encoder on targets of its own, and refuses one that predicts next tokens', async () => {
    const sequences = Array.from({ length: 20 }, (_, i) => ({ tokens: [i, i + 1], targets: [-100, i] }));
    const data = await openSequences(sequences, { ...OPTIONS, validationFraction: 0 });
    opened.push(data);
    const encoder = await tinyModel({ isEncoder: true });
    const { step } = await trainerOf(encoder, data.train).train();
    expect(step).toBe(12);
    const next = await open({});
    await failureOf('ERR_CONFIG', () => trainerOf(encoder, next.train));
  });

  it('leaves with the checkpoint how its sequences begin', async () => {
    const prompt = { tokens: [7, 1, 2, 3], lossMask: [0, 0, 1, 1] };
    const data = await openSequences([prompt, prompt, prompt], { ...OPTIONS, validationFraction: 0 });
    opened.push(data);
    const directory = path.join(folder, 'starts');
    const trainer = trainerOf(await tinyModel(), data.train, { maxSteps: 1 });
    await trainer.train();
    await trainer.save(directory);
    const { model, trainingStarts } = await loadModel(directory, { device: 'cpu' });
    model.dispose();
    expect(trainingStarts).toEqual({
      firstTokens: [{ token: 7, count: 3 }],
      promptTokens: { least: 2, most: 2 },
    });

    // What a file says of it is checked.
    const config = path.join(directory, 'config.json');
    const json = JSON.parse(await readFile(config, 'utf8')) as { tesserae: Record<string, unknown> };
    json.tesserae['trainingStarts'] = { firstTokens: 'some' };
    await writeFile(config, JSON.stringify(json));
    await rm(path.join(directory, 'manifest.json'));
    const failure = await failureOf('ERR_CHECKPOINT', () => loadModel(directory, { device: 'cpu' }));
    expect(failure.message).toMatch(/invalid trainingStarts/);
  });
});

describe('a stream of sequences', () => {
  const stream = async function* (first = 0): AsyncGenerator<Sequence> {
    for (let i = first; ; i++) {
      await Promise.resolve();
      yield SEQUENCES[i % SEQUENCES.length] as Sequence;
    }
  };

  it('is trained on, stopped, and resumed at the same place', async () => {
    const open = (): Dataset => {
      const data = streamSequences(stream, { vocabSize: 32, blockSize: 16 });
      opened.push(data);
      return data.train;
    };
    const straight = await tinyModel();
    await trainerOf(straight, open()).train();
    const outputDir = path.join(folder, 'stream');
    const first = trainerOf(await tinyModel(), open(), { outputDir });
    for await (const event of first) if (event.type === 'step' && event.step === 5) first.stop();
    const model = await tinyModel();
    const resumed = trainerOf(model, open(), { outputDir });
    await resumed.resume();
    await resumed.train();
    expect(await weights(model)).toEqual(await weights(straight));
  });

  it('continues after a stop with the batches drawn ahead', async () => {
    const data = streamSequences(stream(), { vocabSize: 32, blockSize: 16 });
    opened.push(data);
    const straight = await tinyModel();
    const one = trainerOf(straight, data.train);
    for await (const event of one) if (event.type === 'step' && event.step === 5) one.stop();
    const { step } = await one.train();
    expect(step).toBe(12);
  });
});
