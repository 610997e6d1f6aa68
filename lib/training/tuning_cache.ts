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

/** Adds entries to a cache, as the latest. Entries for other versions of cuBLASLt and of our kernels stay. */
export function withEntries(cache: ProductsFile, added: readonly ProductEntry[]): ProductsFile {
  const replaced = new Set(added.map(keyOf));
  const others = cache.entries.filter((entry) => !replaced.has(keyOf(entry)));
  return { ...cache, entries: [...others, ...added].slice(-MOST_ENTRIES) };
}

/**
 * Adds measured products to the cache of a chip. It reads the file again and replaces it as a whole, so another process may
 * write it too. If both do at the same moment, the file lacks what one of them added: add all entries of a run each time.
 *
 * @throws TesseraeError `ERR_DATA` for a cache that can't be read or written.
 */
export async function addToCache(chip: string, entries: readonly ProductEntry[]): Promise<void> {
  const file = cacheFile(chip);
  try {
    await makeFolder(path.dirname(file));
    await replaceFile(file, `${JSON.stringify(withEntries(readCache(chip), entries), null, 1)}\n`);
  } catch (cause) {
    if (cause instanceof TesseraeError) throw cause;
    throw (
      exhaustedError(`'${file}' can't be written`, cause) ??
      new TesseraeError(
        'ERR_DATA',
        `'${file}', the cache of tesserae tune, can't be written: ${messageOf(cause)}. Set the environment variable ` +
          'TESSERAE_CACHE to a folder that you may write to',
        { details: { path: file }, cause },
      )
    );
  }
}
