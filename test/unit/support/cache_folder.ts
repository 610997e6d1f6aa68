import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { KERNELS_VERSION, type ProductEntry } from '../../../lib/products/entry';
import { cacheFile } from '../../../lib/products/table';

/** Gives each test of a file an empty folder for the cache of tuned kernels; returns its path. */
export function useCacheFolder(): () => string {
  const before = process.env['TESSERAE_CACHE'];
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tesserae-cache-'));
    process.env['TESSERAE_CACHE'] = folder;
  });
  afterEach(() => {
    if (before === undefined) delete process.env['TESSERAE_CACHE'];
    else process.env['TESSERAE_CACHE'] = before;
    rmSync(folder, { recursive: true });
  });
  return () => folder;
}

/** An entry of a cache. */
export const cacheEntry = (changes: Partial<ProductEntry> = {}): ProductEntry => ({
  layout: 'forward',
  m: 128,
  n: 48,
  k: 16,
  pieces: [{ kind: 'bias' }],
  result: 'bfloat16',
  precision: 'bf16',
  kernel: 'sm80 128 × 128',
  seconds: 1e-5,
  kernels: KERNELS_VERSION,
  ...changes,
});

/** Writes the cache of a chip. */
export function writeCache(chip: string, entries: readonly ProductEntry[], changes: object = {}): void {
  writeFileSync(cacheFile(chip), JSON.stringify({ version: 1, chip, entries, ...changes }));
}
