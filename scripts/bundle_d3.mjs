// Replaces dist/report/d3.js, which requires d3, by one file with the used parts of d3 and its licences.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

export async function bundleD3(root) {
  const file = path.join(root, 'dist/report/d3.js');
  const { outputFiles, metafile } = await build({
    ...{ entryPoints: [path.join(root, 'lib/report/d3.ts')], outfile: file, absWorkingDir: root },
    ...{ bundle: true, platform: 'node', format: 'cjs', target: 'node20', write: false, metafile: true },
  });
  const folders = Object.keys(metafile.inputs).flatMap(
    (name) => /^node_modules\/[\w-]+/.exec(name)?.[0] ?? [],
  );
  const licences = [...new Set(folders)]
    .sort()
    .map(
      (folder) => `${path.basename(folder)}:\n\n${readFileSync(path.join(root, folder, 'LICENSE'), 'utf8')}`,
    );
  writeFileSync(file, `/*\n${licences.join('\n')}*/\n${outputFiles[0].text}`);
  // Removes the internal types: nobody reads them, and they would need d3's.
  for (const beside of ['d3.d.ts', 'd3.js.map'])
    rmSync(path.join(path.dirname(file), beside), { force: true });
}
