import path from 'node:path';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { MOST_ENTRIES, type ProductEntry, type ProductsFile } from '../products/entry';
import { cacheFile, readCache } from '../products/table';
import { makeFolder } from '../report/make_folder';
import { productKey } from '../report/product_text';
import { replaceFile } from '../report/replace_file';

/** Equal for measurements of the same thing: the later one replaces the earlier. */
const keyOf = (entry: ProductEntry): string =>
  JSON.stringify([productKey(entry), entry.precision, entry.library, entry.kernels]);

/** Adds an entry to a cache, as the latest. Entries for other versions of cuBLASLt and of our kernels stay. */
export function withEntry(cache: ProductsFile, entry: ProductEntry): ProductsFile {
  const others = cache.entries.filter((other) => keyOf(other) !== keyOf(entry));
  return { ...cache, entries: [...others, entry].slice(-MOST_ENTRIES) };
}

/**
 * Adds a measured product to the cache of a chip. The file is read again and replaced at once, so another process may add to it
 * in the meantime.
 *
 * @throws TesseraeError `ERR_DATA` for a cache that can't be read or written.
 */
export async function addToCache(chip: string, entry: ProductEntry): Promise<void> {
  const file = cacheFile(chip);
  try {
    await makeFolder(path.dirname(file));
    await replaceFile(file, `${JSON.stringify(withEntry(readCache(chip), entry), null, 1)}\n`);
  } catch (cause) {
    if (cause instanceof TesseraeError) throw cause;
    throw (
      exhaustedError(`'${file}' can't be written`, cause) ??
      new TesseraeError(
        'ERR_DATA',
        `'${file}', the cache of tesserae tune, can't be written: ${messageOf(cause)}. Set the environment variable ` +
          'TESSERAE_CACHE to a folder that you may write to',
        { details: { file }, cause },
      )
    );
  }
}
