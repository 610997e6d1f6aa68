// npm runs this before it publishes. It stops a package without its prebuilt addon, or one whose provenance npm would refuse.
import { existsSync, readFileSync } from 'node:fs';

const missing = [];
if (!existsSync(new URL('../prebuilds/linux-x64/tesserae.glibc.node', import.meta.url)))
  missing.push('prebuilds/linux-x64 has no addon: npm run prebuilds, where nvcc is');
const { repository } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
if (!repository)
  missing.push(
    'package.json names no repository, which npm compares with where the package was built: add it',
  );
for (const what of missing) console.error(what);
process.exitCode = missing.length > 0 ? 1 : 0;
