/** The table that kernels of matrix products are chosen by: your cache, then what this release ships. */
import { closeSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { parseJson } from '../files/json';
import { openFileSync } from '../files/regular_file';
import type { Precision, TunedProduct } from '../native';
import { KERNELS_VERSION, productsSchema, type ProductEntry, type ProductsFile } from './entry';
import { SHIPPED } from './shipped';

/**
 * The cache of a chip: `products-<chip>.json` in the folder that the environment variable TESSERAE_CACHE names, or in
 * `tesserae` in that of XDG_CACHE_HOME or ~/.cache.
 */
export function cacheFile(chip: string): string {
  const { TESSERAE_CACHE: own, XDG_CACHE_HOME: xdg } = process.env;
  // The XDG specification ignores relative paths.
  const base = xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.cache');
  const folder = own === undefined || own === '' ? path.join(base, 'tesserae') : path.resolve(own);
  return path.join(folder, `products-${chip}.json`);
}

/**
 * The cache of a chip; an empty one if there is no file.
 *
 * @throws TesseraeError `ERR_DATA` for a file that can't be read or is not such a cache.
 */
export function readCache(chip: string): ProductsFile {
  const file = cacheFile(chip);
  const text = readText(file);
  if (text === undefined) return { version: 1, chip, entries: [] };
  try {
    const found = productsSchema.parse(parseJson(text));
    if (found.chip !== chip) throw new Error(`it was measured on '${found.chip}'`);
    return found;
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw unusable(file, why, cause);
  }
}

function readText(file: string): string | undefined {
  let descriptor: number;
  try {
    descriptor = openFileSync(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw exhaustedError(`'${file}' can't be opened`, cause) ?? unusable(file, messageOf(cause), cause);
  }
  try {
    return readFileSync(descriptor, 'utf8');
  } catch (cause) {
    throw exhaustedError(`'${file}' can't be read`, cause) ?? unusable(file, messageOf(cause), cause);
  } finally {
    closeSync(descriptor);
  }
}

const unusable = (file: string, why: string, cause: unknown): TesseraeError =>
  new TesseraeError(
    'ERR_DATA',
    `'${file}', the cache of tesserae tune, can't be used: ${why}. Delete it; tesserae tune makes a new one`,
    { details: { path: file }, cause },
  );

/** Chips that share a table. An H100 has the multiprocessors of an H200 and slower memory. */
const ALIKE: Readonly<Record<string, string>> = { h100: 'h200' };

const shippedEntries = (chip: string): readonly ProductEntry[] =>
  SHIPPED[chip] ?? SHIPPED[ALIKE[chip] ?? ''] ?? [];

/**
 * The table for a chip, as native code takes it: entries of these kernels, in the given precision or in all.
 *
 * @throws TesseraeError as readCache.
 */
export function tunedProducts(chip: string, precision?: Precision): TunedProduct[] {
  return [
    ...tableOf(readCache(chip).entries, 'cache', precision),
    ...tableOf(shippedEntries(chip), 'shipped', precision),
  ];
}

/** As tunedProducts, but a cache that can't be read is not used, and `problem` says why. */
export function usableProducts(
  chip: string,
  precision: Precision,
): { readonly products: readonly TunedProduct[]; readonly problem?: TesseraeError } {
  try {
    return { products: tunedProducts(chip, precision) };
  } catch (problem) {
    if (!(problem instanceof TesseraeError)) throw problem;
    return { products: tableOf(shippedEntries(chip), 'shipped', precision), problem };
  }
}

const tableOf = (
  entries: readonly ProductEntry[],
  source: TunedProduct['source'],
  precision: Precision | undefined,
): TunedProduct[] =>
  entries
    .filter(
      (entry) =>
        entry.kernels === KERNELS_VERSION && (precision === undefined || entry.precision === precision),
    )
    .map(({ kernels: _, ...entry }) => ({ ...entry, source }));
