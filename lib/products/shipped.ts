import type { ProductEntry } from './entry';

/** Products that were measured for this release, by chip. It has none yet: the rule chooses what is not in your cache. */
export const SHIPPED: Readonly<Record<string, readonly ProductEntry[]>> = {};
