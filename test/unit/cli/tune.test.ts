import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { tuneText } from '../../../lib/cli/tune';
import { cacheFile } from '../../../lib/products/table';
import type { Plan } from '../../../lib/report/plan_table';
import { distinctProducts } from '../../../lib/report/product_text';
import type { TuneResult } from '../../../lib/training/tuning';
import { cacheEntry, useCacheFolder, writeCache } from '../support/cache_folder';
import { tesserae } from '../support/command_line';
import { TINY } from '../support/tiny_model';

useCacheFolder();

let folder: string;
let config: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tesserae-tune-'));
  config = path.join(folder, 'config.json');
  writeFileSync(config, JSON.stringify({ model: TINY, training: { maxSteps: 1, batchSize: 8 } }));
});
afterAll(() => rmSync(folder, { recursive: true }));

const lines = (text: string): string[] => text.split('\n').map((line) => line.replace(/ {2,}/g, ' | '));

describe('tesserae tune', () => {
  it('says that the CPU has nothing to tune', async () => {
    const { code, out, err } = await tesserae('tune', config, '--device', 'cpu');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^error ERR_DEVICE: there is nothing to tune on the CPU.*needs a GPU\n$/);
  });

  it('refuses a configuration that is wrong before it looks for a GPU', async () => {
    const wrong = path.join(folder, 'wrong.json');
    writeFileSync(wrong, JSON.stringify({ model: { ...TINY, nHead: 3 } }));
    const { code, err } = await tesserae('tune', wrong, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(err)).toMatchObject({ type: 'error', code: 'ERR_CONFIG' });
  });
});

const result: TuneResult = {
  chip: 'h200',
  precision: 'bf16',
  file: '/cache/products-h200.json',
  products: [
    {
      ...{ layout: 'forward', m: 8192, n: 768, k: 768, pieces: [{ kind: 'bias' }], result: 'bfloat16' },
      runs: 12,
      before: { kernel: 'sm90 128 × 192', seconds: 20e-6 },
      after: { kernel: 'cuBLASLt 4', seconds: 16e-6 },
      rooflineSeconds: 8e-6,
    },
    {
      ...{ layout: 'weightGradient', m: 768, n: 768, k: 8192, pieces: [], result: 'float32' },
      runs: 12,
      before: { kernel: 'cuBLASLt 1', seconds: 30e-6 },
      after: { kernel: 'cuBLASLt 1', seconds: 30e-6 },
      rooflineSeconds: 24e-6,
    },
  ],
  stepSeconds: { before: 600e-6, after: 552e-6 },
  stopped: false,
};

it('prints each product before and after, and what a step gains', () => {
  expect(lines(tuneText(result)).filter((line) => !line.startsWith('-'))).toEqual([
    'm × n × k | product | pieces | runs | before | time | after | time | of roofline',
    '8192 × 768 × 768 | x Wᵀ | bias | 12 | sm90 128 × 192 | 20 µs | cuBLASLt 4 | 16 µs | 50 %',
    '768 × 768 × 8192 | dyᵀ x | 12 | cuBLASLt 1 | 30 µs | same | 80 %',
    '',
    'matrix products of a step: 600 µs → 552 µs, 8.0 % less (h200, bf16)',
    'saved in /cache/products-h200.json',
    '',
  ]);
});

it('says how far it came when it was stopped', () => {
  const none = { ...result, products: [], stepSeconds: { before: 0, after: 0 }, stopped: true };
  expect(tuneText({ ...result, stopped: true })).toContain(
    'stopped after 2 products, which are saved in /cache',
  );
  expect(tuneText(none)).toBe(
    'matrix products of a step: 0 s → 0 s (h200, bf16)\nstopped after 0 products, which are saved in ' +
      '/cache/products-h200.json\n',
  );
});

describe('tesserae plan', () => {
  const planned = async (): Promise<string[]> => {
    const { code, out } = await tesserae('plan', config, '--chip', 'h200');
    expect(code).toBe(0);
    return lines(out);
  };

  it('shows the kernel of each product, what chose it, and its time', async () => {
    const row = /^128 × 48 × 16 \| x Wᵀ \| bias \| 1 \| (.*)$/;
    const shown = async (): Promise<string | undefined> =>
      (await planned()).map((line) => row.exec(line)?.[1]).find((text) => text !== undefined);
    expect(await shown()).toBe('cuBLASLt | rule | 4.17 ns');
    writeCache('h200', [cacheEntry({ seconds: 8.34e-9 })]);
    expect(await shown()).toBe('sm80 128 × 128 | cache | 4.17 ns | 8.34 ns | 50 %');
    writeCache('h200', [cacheEntry({ kernel: 'sm90 8 × 8' })]);
    expect(await shown()).toBe('cuBLASLt | rule (no sm90 8 × 8 here) | 4.17 ns');
  });

  it('says the same as JSON', async () => {
    writeCache('h200', [cacheEntry()]);
    const { out } = await tesserae('plan', config, '--chip', 'h200', '--json');
    const products = distinctProducts((JSON.parse(out) as Plan).calls).map(({ product }) => product);
    expect(products.filter(({ source }) => source === 'cache')).toMatchObject([
      { m: 128, n: 48, k: 16, kernel: 'sm80 128 × 128', expectedSeconds: 1e-5 },
    ]);
  });

  it('names a cache that is broken', async () => {
    writeFileSync(cacheFile('h200'), '[]');
    const { code, err } = await tesserae('plan', config, '--chip', 'h200');
    expect(code).toBe(1);
    expect(err).toMatch(/^error ERR_DATA: '.*products-h200\.json'.*Delete it/s);
  });
});
