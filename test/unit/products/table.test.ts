import { mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { KERNELS_VERSION } from '../../../lib/products/entry';
import { cacheFile, readCache, tunedProducts, usableProducts } from '../../../lib/products/table';
import { cacheEntry, useCacheFolder, writeCache } from '../support/cache_folder';
import { failureOf } from '../support/errors';

const folder = useCacheFolder();

describe('the file', () => {
  const xdg = process.env['XDG_CACHE_HOME'];
  afterEach(() => {
    if (xdg === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = xdg;
  });

  it.each<[string, string | undefined, string | undefined, string]>([
    ['in TESSERAE_CACHE', '/a/b', '/xdg', '/a/b/products-h200.json'],
    ['in XDG_CACHE_HOME', undefined, '/xdg', '/xdg/tesserae/products-h200.json'],
    ['in ~/.cache', undefined, undefined, path.join(homedir(), '.cache/tesserae/products-h200.json')],
    [
      'not in a relative XDG_CACHE_HOME',
      '',
      'xdg',
      path.join(homedir(), '.cache/tesserae/products-h200.json'),
    ],
  ])('is %s', (_, own, base, file) => {
    if (own === undefined) delete process.env['TESSERAE_CACHE'];
    else process.env['TESSERAE_CACHE'] = own;
    if (base === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = base;
    expect(cacheFile('h200')).toBe(file);
  });
});

it('is empty without a file', () => {
  expect(readCache('h200')).toEqual({ version: 1, chip: 'h200', entries: [] });
  expect(tunedProducts('h200')).toEqual([]);
});

it('gives the entries of the chip and the precision, as those of the cache', () => {
  const half = cacheEntry({ precision: 'fp16', result: 'float16' });
  writeCache('h200', [cacheEntry({ library: 130_001 }), half]);
  const { kernels: _, ...product } = cacheEntry({ library: 130_001 });
  expect(tunedProducts('h200', 'bf16')).toEqual([{ ...product, source: 'cache' }]);
  expect(tunedProducts('h200')).toHaveLength(2);
  expect(tunedProducts('h100')).toEqual([]);
});

it('uses no entry of other kernels', () => {
  writeCache('h200', [cacheEntry({ kernels: KERNELS_VERSION + 1 })]);
  expect(tunedProducts('h200')).toEqual([]);
});

describe.each<[string, () => void, RegExp]>([
  ['is no JSON', () => writeFileSync(cacheFile('h200'), '{ "version": 1,'), /line 1, column/],
  ['is empty', () => writeFileSync(cacheFile('h200'), ''), /found the end of the file/],
  ['is of another version', () => writeCache('h200', [], { version: 2 }), /version/],
  ['has another field', () => writeCache('h200', [], { extra: 1 }), /extra/],
  ['has a wrong entry', () => writeCache('h200', [cacheEntry({ m: -1 })]), /entries\[0\]\.m/],
  ['is of another chip', () => writeCache('h200', [], { chip: 'a100' }), /measured on 'a100'/],
  ['is a folder', () => mkdirSync(cacheFile('h200')), /it is a folder/],
])('a file that %s', (_, write, why) => {
  beforeEach(() => write());

  it('is refused by name, with what to do', async () => {
    const { message, details } = await failureOf('ERR_DATA', () => tunedProducts('h200'));
    expect(message).toContain(`'${path.join(folder(), 'products-h200.json')}'`);
    expect(message).toMatch(why);
    expect(message).toContain('Delete it');
    expect(details).toEqual({ path: cacheFile('h200') });
  });

  it('is told of, and not used, in training', () => {
    const { products, problem } = usableProducts('h200', 'bf16');
    expect(products).toEqual([]);
    expect(problem?.message).toMatch(why);
  });
});
