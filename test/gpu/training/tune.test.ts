import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { IdTokenizer } from '../../../lib/data/id_tokenizer';
import type { Device } from '../../../lib/models/device';
import { Model } from '../../../lib/models/model';
import { devices, system } from '../../../lib/native';
import type { ProductEntry } from '../../../lib/products/entry';
import { cacheFile, readCache } from '../../../lib/products/table';
import { distinctProducts, productKey } from '../../../lib/report/product_text';
import { Sampler } from '../../../lib/sampling/sampler';
import { planTraining } from '../../../lib/training/planning';
import { Trainer } from '../../../lib/training/trainer';
import { tune } from '../../../lib/training/tuning';
import { cacheEntry, useCacheFolder, writeCache } from '../../unit/support/cache_folder';
import { countingDataset, TINY } from '../../unit/support/tiny_model';
import { bitsOf, eventsOf } from '../../unit/support/training_bits';
import { gpu } from '../support/gpu';

useCacheFolder();

let folder: string;
const models: Model[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-tune-'));
});
afterEach(async () => {
  for (const model of models.splice(0)) model.dispose();
  await rm(folder, { recursive: true });
});

const CONFIG = { ...TINY, nPositions: 128, nEmbd: 64 };
const BATCH = 8;

const modelOf = async (): Promise<Model> => {
  const model = await Model.create(CONFIG, { device: gpu as Device, precision: 'bf16', seed: 1 });
  models.push(model);
  return model;
};

const trainerOf = async (outputDir?: string): Promise<Trainer> =>
  new Trainer(await modelOf(), {
    arguments: {
      maxSteps: 8,
      batchSize: BATCH,
      learningRate: 1e-3,
      loggingSteps: 1,
      saveSteps: 4,
      ...(outputDir === undefined ? {} : { outputDir: path.join(folder, outputDir) }),
    },
    train: countingDataset(CONFIG.nPositions),
  });

/** The name of the GPU for `plan`. These tests are about chips that have a cache. */
async function chipOf(): Promise<string> {
  const chip = (await devices()).find(({ name }) => name === gpu)?.chip;
  if (chip === undefined) throw new Error(`'${gpu}' is not in the table of chips, so it can't be tuned`);
  return chip;
}

/** The kernel and the source of each product of a model, by product. */
async function kernelsOf({ native }: Model): Promise<Map<string, string>> {
  const { products } = await native.products();
  return new Map(products.map((product) => [productKey(product), `${product.kernel} by ${product.source}`]));
}

/** Writes a cache in which our kernel for any chip is the fastest for each product that it computes. */
async function preferOwnKernels(): Promise<readonly ProductEntry[]> {
  const chip = await chipOf();
  const { calls } = planTraining(CONFIG, { chip, precision: 'bf16', arguments: { batchSize: BATCH } });
  const entries = distinctProducts(calls)
    .filter(({ product }) => product.pieces.every(({ kind }) => kind === 'bias'))
    .map(({ product: { layout, m, n, k, pieces, result } }) =>
      cacheEntry({ layout, m, n, k, pieces: [...pieces], result: result as ProductEntry['result'] }),
    );
  writeCache(chip, entries);
  return entries;
}

test('tune fills the cache, and a model that is trained afterwards uses its kernels', async () => {
  const chip = await chipOf();
  const progress: number[] = [];
  const result = await tune(CONFIG, {
    device: gpu as Device,
    precision: 'bf16',
    arguments: { batchSize: BATCH },
    onProgress: (done) => progress.push(done),
  });
  expect(result).toMatchObject({ chip, precision: 'bf16', file: cacheFile(chip), stopped: false });
  expect(progress.at(-1)).toBe(result.products.length);
  expect(result.stepSeconds.after).toBeGreaterThan(0);
  expect(result.stepSeconds.after).toBeLessThanOrEqual(result.stepSeconds.before);
  const { cublasLt } = (await system()).libraries;
  for (const { library } of readCache(chip).entries) expect(library).toBe(cublasLt);

  const trainer = await trainerOf();
  await trainer.train();
  const used = await kernelsOf(trainer.model);
  for (const product of result.products)
    expect([productKey(product), used.get(productKey(product))]).toEqual([
      productKey(product),
      `${product.after.kernel} by cache`,
    ]);
});

test('a number of another cuBLASLt is not used, nor one that its list does not have', async () => {
  const entries = await preferOwnKernels();
  const chip = await chipOf();
  const sources = async (changes: Partial<ProductEntry>): Promise<Set<string>> => {
    writeCache(
      chip,
      entries.map((entry) => ({ ...entry, ...changes })),
    );
    const trainer = await trainerOf();
    await trainer.step({ tokens: Array.from({ length: BATCH }, () => Array<number>(128).fill(1)) });
    const used = await kernelsOf(trainer.model);
    return new Set(entries.map((entry) => used.get(productKey(entry))?.split(' by ')[1] ?? 'absent'));
  };
  const { cublasLt } = (await system()).libraries;
  if (cublasLt === undefined) throw new Error('cuBLASLt is not there, so its numbers have no meaning');
  expect(await sources({ kernel: 'cuBLASLt 1', library: cublasLt })).toEqual(new Set(['cache']));
  expect(await sources({ kernel: 'cuBLASLt 1', library: 1 })).toEqual(new Set(['rule']));
  expect(await sources({ kernel: 'cuBLASLt 17', library: cublasLt })).toEqual(new Set(['rule']));
});

test('a run resumes bit by bit with the kernels of its checkpoint, when the cache is gone', async () => {
  const entries = await preferOwnKernels();
  const whole = await trainerOf('whole');
  const wanted = await eventsOf(whole);
  await eventsOf(await trainerOf('cut'), 4);
  await rm(cacheFile(await chipOf()));
  const resumed = await trainerOf('cut');
  const found = await resumed.resume(path.join(folder, 'cut', 'checkpoint-4'));
  expect(found).toMatchObject({ step: 4, differences: [] });
  const events = await eventsOf(resumed);
  expect(events).toEqual(wanted.filter((event) => (event as { step: number }).step > 4));
  expect(await bitsOf(resumed)).toEqual(await bitsOf(whole));
  const used = await kernelsOf(resumed.model);
  for (const entry of entries) expect(used.get(productKey(entry))).toBe('sm80 128 × 128 by checkpoint');
});

test('a model that has trained takes the kernels of a checkpoint, and names those that it does not have', async () => {
  const entries = await preferOwnKernels();
  const chip = await chipOf();
  await eventsOf(await trainerOf('run'), 4);
  await rm(cacheFile(chip));
  const other = await trainerOf('other');
  await other.step({ tokens: Array.from({ length: BATCH }, () => Array<number>(128).fill(1)) });
  await other.resume(path.join(folder, 'run', 'checkpoint-4'));
  await other.step({ tokens: Array.from({ length: BATCH }, () => Array<number>(128).fill(1)) });
  const used = await kernelsOf(other.model);
  for (const entry of entries) expect(used.get(productKey(entry))).toBe('sm80 128 × 128 by checkpoint');

  const { kernels: _, ...product } = entries[0]!;
  const lost = await other.model.native.restoreProducts([
    { ...product, kernel: 'cuBLASLt 1', library: 1, source: 'checkpoint' },
    { ...product, m: 2 * product.m, kernel: 'sm80 128 × 128', source: 'checkpoint' },
  ]);
  expect(lost.map(({ m, kernel }) => ({ m, kernel }))).toEqual([{ m: product.m, kernel: 'cuBLASLt 1' }]);
});

test('a prompt is continued by the same tokens whatever the cache says', async () => {
  const continued = async (): Promise<string[]> => {
    const sampler = new Sampler(await modelOf(), new IdTokenizer(TINY.vocabSize));
    const made = await sampler.generate(['1 2 3', '7 8 9 10 11'], { maxNewTokens: 40, seed: 3 });
    return made.map(({ text }) => text);
  };
  const without = await continued();
  const chip = await chipOf();
  // Our kernel for any chip for every linear layer with a bias, for few rows and for many.
  const layers = [
    { n: 3 * CONFIG.nEmbd, k: CONFIG.nEmbd },
    { n: CONFIG.nEmbd, k: CONFIG.nEmbd },
    { n: CONFIG.nEmbd, k: 4 * CONFIG.nEmbd },
  ];
  writeCache(
    chip,
    [2, 8, 16, 32, 64, 128].flatMap((m) => layers.map((layer) => cacheEntry({ ...layer, m }))),
  );
  expect(await continued()).toEqual(without);
});
