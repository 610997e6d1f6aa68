import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { TesseraeError } from '../../../lib/errors';
import { resolveModelConfig } from '../../../lib/models/families';
import type { MeasuredProduct, ProductRequest } from '../../../lib/native';
import { KERNELS_VERSION, MOST_ENTRIES } from '../../../lib/products/entry';
import { cacheFile, readCache } from '../../../lib/products/table';
import type { Plan } from '../../../lib/report/plan_table';
import { distinctProducts } from '../../../lib/report/product_text';
import { planStep, planTraining, stepArguments } from '../../../lib/training/planning';
import { tune, tunePlan } from '../../../lib/training/tuning';
import { addToCache, withEntries } from '../../../lib/training/tuning_cache';
import { cacheEntry, useCacheFolder } from '../support/cache_folder';
import { failureOf } from '../support/errors';
import { TINY } from '../support/tiny_model';

const folder = useCacheFolder();

const CONFIG = { ...TINY, nEmbd: 64, nPositions: 128 };

/** The plan of a step in bf16 on an H200, by the rule alone. */
const planned = (gradientAccumulationSteps = 1): Plan =>
  planStep(
    resolveModelConfig(CONFIG),
    stepArguments({ batchSize: 8, gradientAccumulationSteps }, 'arguments'),
    { chip: 'h200', precision: 'bf16' },
    [],
  );

const PLAN = planned();
const TOTAL = distinctProducts(PLAN.calls).length;

/** Candidates with their times in µs; each round measures one of them. */
const times = (candidates: Record<string, readonly number[]>): MeasuredProduct[] =>
  Object.entries(candidates).map(([name, micros]) => ({ name, seconds: micros.map((one) => one / 1e6) }));

/** The library's third algorithm is the fastest for products in the forward pass, its first for others. */
const measure = async ({ layout }: ProductRequest): Promise<MeasuredProduct[]> =>
  times({
    'cuBLASLt 1': [20, 21, 90],
    'cuBLASLt 3': layout === 'forward' ? [16, 15, 14] : [30, 30, 30],
    'sm80 128 × 128': [40, 40, 1],
    'cuBLASLt 1 + activation': [1, 1, 1],
  });

it('keeps the fastest kernel of each product by its median, in the cache and for the next plan', async () => {
  const progress: number[][] = [];
  const result = await tunePlan(PLAN, {
    measure,
    library: 130_001,
    onProgress: (...args) => progress.push(args),
  });
  expect(result).toMatchObject({ chip: 'h200', precision: 'bf16', file: cacheFile('h200'), stopped: false });
  expect(progress).toEqual(Array.from({ length: TOTAL + 1 }, (_, done) => [done, TOTAL]));
  for (const { layout, before, after } of result.products) {
    expect(before).toEqual({ kernel: 'cuBLASLt 1', seconds: 21e-6 });
    expect(after.kernel).toBe(layout === 'forward' ? 'cuBLASLt 3' : 'cuBLASLt 1');
  }
  const { entries } = readCache('h200');
  expect(entries).toHaveLength(TOTAL);
  for (const { layout, kernel, seconds, library, kernels, precision } of entries)
    expect({ kernel, seconds, library, kernels, precision }).toEqual({
      ...(layout === 'forward'
        ? { kernel: 'cuBLASLt 3', seconds: 15e-6 }
        : { kernel: 'cuBLASLt 1', seconds: 21e-6 }),
      ...{ library: 130_001, kernels: KERNELS_VERSION, precision: 'bf16' },
    });
  const next = planTraining(CONFIG, { chip: 'h200', arguments: { batchSize: 8 } });
  for (const { product } of distinctProducts(next.calls))
    expect(product).toMatchObject({
      source: 'cache',
      kernel: product.layout === 'forward' ? 'cuBLASLt 3' : 'cuBLASLt 1',
    });
  // Another chip has a cache of its own.
  const other = planTraining(CONFIG, { chip: 'h100', arguments: { batchSize: 8 } });
  expect(new Set(distinctProducts(other.calls).map(({ product }) => product.source))).toEqual(
    new Set(['rule']),
  );
});

it('adds up the products of a step, with those of all its micro-batches', async () => {
  const requests: ProductRequest[] = [];
  const result = await tunePlan(planned(3), {
    measure: async (product) => {
      requests.push(product);
      return measure(product);
    },
  });
  const sum = (of: (layout: string) => number): number =>
    distinctProducts(PLAN.calls).reduce(
      (total, { product, count }) => total + 3 * count * of(product.layout),
      0,
    );
  expect(result.stepSeconds.before).toBeCloseTo(
    sum(() => 21e-6),
    12,
  );
  expect(result.stepSeconds.after).toBeCloseTo(
    sum((layout) => (layout === 'forward' ? 15e-6 : 21e-6)),
    12,
  );
  // Most gradients of a weight are added to those of an earlier micro-batch.
  for (const { layout, accumulate } of requests) expect(accumulate).toBe(layout === 'weightGradient');
});

it('measures the rule by the next kernel where the library is missing', async () => {
  const { products } = await tunePlan(PLAN, {
    measure: async () => times({ 'sm80 128 × 128': [40], plain: [50] }),
  });
  expect(products[0]?.before.kernel).toBe('sm80 128 × 128');
  expect(readCache('h200').entries[0]).not.toHaveProperty('library');
});

it('keeps what was measured when it is stopped', async () => {
  const controller = new AbortController();
  const result = await tunePlan(PLAN, {
    measure,
    signal: controller.signal,
    onProgress: (done) => {
      if (done === 2) controller.abort();
    },
  });
  expect(result.stopped).toBe(true);
  expect(result.products).toHaveLength(2);
  expect(readCache('h200').entries).toHaveLength(2);
});

it('names a product that can not be measured, and keeps those before it', async () => {
  let count = 0;
  const failing = async (product: ProductRequest): Promise<MeasuredProduct[]> => {
    if (++count === 3) throw new TesseraeError('ERR_OUT_OF_MEMORY', 'no memory is left');
    return measure(product);
  };
  const { message } = await failureOf('ERR_OUT_OF_MEMORY', () => tunePlan(PLAN, { measure: failing }));
  expect(message).toMatch(/^the product x Wᵀ, \d+ × \d+ × \d+, .*can't be measured: no memory is left$/);
  expect(readCache('h200').entries).toHaveLength(2);
});

describe('the cache', () => {
  it('has one entry for a product, the latest, but others for other versions', () => {
    const before = { version: 1 as const, chip: 'h200', entries: [cacheEntry(), cacheEntry({ library: 1 })] };
    const other = cacheEntry({ m: 256 });
    const newer = cacheEntry({ library: 1, kernel: 'cuBLASLt 2' });
    expect(withEntries(before, [other, newer]).entries).toEqual([cacheEntry(), other, newer]);
  });

  it('drops its oldest entries when it is full', () => {
    const entries = Array.from({ length: MOST_ENTRIES }, (_, i) => cacheEntry({ m: i + 1 }));
    const { entries: kept } = withEntries({ version: 1, chip: 'h200', entries }, [cacheEntry({ k: 24 })]);
    expect(kept).toHaveLength(MOST_ENTRIES);
    expect(kept[0]?.m).toBe(2);
    expect(kept.at(-1)?.k).toBe(24);
  });

  it('stays whole while several write it, and then has what each added last', async () => {
    const writer = async (k: number): Promise<void> => {
      const own = [];
      for (let m = 1; m <= 10; m++) {
        own.push(cacheEntry({ m, k }));
        await addToCache('h200', own);
      }
    };
    await Promise.all([writer(8), writer(16)]);
    await addToCache('h200', [cacheEntry({ m: 11, k: 8 })]);
    expect(readCache('h200').entries.length).toBeGreaterThan(10);
    expect(readdirSync(folder())).toEqual(['products-h200.json']);
  });

  it('makes its folder', async () => {
    process.env['TESSERAE_CACHE'] = `${folder()}/a/b`;
    await addToCache('h200', [cacheEntry()]);
    expect(readCache('h200').entries).toEqual([cacheEntry()]);
  });

  it('is not replaced if it is broken', async () => {
    writeFileSync(cacheFile('h200'), 'mine');
    await failureOf('ERR_DATA', () => addToCache('h200', [cacheEntry()]));
    await failureOf('ERR_DATA', () => tunePlan(PLAN, { measure }));
    rmSync(cacheFile('h200'));
  });

  it('says which folder can not be written', async () => {
    writeFileSync(`${folder()}/file`, '');
    process.env['TESSERAE_CACHE'] = `${folder()}/file`;
    const { message, details } = await failureOf('ERR_DATA', () => addToCache('h200', [cacheEntry()]));
    expect(message).toMatch(/file\/products-h200.json'.* can't be written: .*TESSERAE_CACHE/);
    expect(details).toEqual({ path: cacheFile('h200') });
  });
});

it.each<[string, object, RegExp]>([
  ['a device', { device: 'tpu' }, /tpu/],
  ['a precision', { precision: 'int8' }, /precision/],
  ['a callback', { onProgress: 1 }, /onProgress must be a function/],
  ['an argument', { arguments: { batchSize: 0 } }, /batchSize/],
  ['an option', { chip: 'h100' }, /chip/],
])('refuses %s that is wrong', async (_, options, message) => {
  expect((await failureOf('ERR_CONFIG', () => tune(TINY, options))).message).toMatch(message);
});

it('has nothing to do on the CPU', async () => {
  const { message } = await failureOf('ERR_DEVICE', () => tune(TINY, { device: 'cpu' }));
  expect(message).toBe(
    'there is nothing to tune on the CPU, where one kernel computes each product. Tuning needs a GPU',
  );
});
