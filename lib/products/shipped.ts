// Written by scripts/ship_products.mjs.
import type { ProductEntry } from './entry';

/** Products that were measured for this release, by chip. */
// prettier-ignore
export const SHIPPED: Readonly<Record<string, readonly ProductEntry[]>> = {
};
