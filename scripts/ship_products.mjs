// Makes the table of measured products that a release ships, from caches that tesserae tune has written:
//   node scripts/ship_products.mjs ~/.cache/tesserae/products-h200.json …
// Entries of other kernels than this release's are left out. Run `npm run build` first.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { KERNELS_VERSION, productsSchema } from '../dist/products/entry.js';
import { root } from './stale.mjs';

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: node scripts/ship_products.mjs <cache of tesserae tune>...');
  process.exit(2);
}

const tables = files
  .map((file) => productsSchema.parse(JSON.parse(readFileSync(file, 'utf8'))))
  .sort((a, b) => (a.chip < b.chip ? -1 : 1))
  .map(({ chip, entries }) => {
    const rows = entries
      .filter(({ kernels }) => kernels === KERNELS_VERSION)
      .map((entry) => `    ${JSON.stringify(entry)},\n`);
    return `  ${chip}: [\n${rows.join('')}  ],\n`;
  });

writeFileSync(
  path.join(root, 'lib/products/shipped.ts'),
  `// Written by scripts/ship_products.mjs.
import type { ProductEntry } from './entry';

/** Products that were measured for this release, by chip. */
// prettier-ignore
export const SHIPPED: Readonly<Record<string, readonly ProductEntry[]>> = {
${tables.join('')}};
`,
);
