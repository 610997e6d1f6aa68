// Compiles lib/ once, to CommonJS in dist/, and writes the ES module entry that re-exports every public name of it:
// both kinds of import give the same classes.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

import { bundleD3 } from './bundle_d3.mjs';
import { markBuilt, root } from './stale.mjs';

const lib = path.join(root, 'lib');
const dist = path.join(root, 'dist');
const started = new Date();

const formatHost = {
  getCanonicalFileName: (name) => name,
  getCurrentDirectory: () => root,
  getNewLine: () => '\n',
};

function compile() {
  const config = ts.getParsedCommandLineOfConfigFile(path.join(root, 'tsconfig.build.json'), undefined, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
      throw new Error(ts.formatDiagnostic(diagnostic, formatHost));
    },
  });
  const program = ts.createProgram(config.fileNames, config.options);
  const { diagnostics } = program.emit();
  const all = ts.sortAndDeduplicateDiagnostics([
    ...config.errors,
    ...ts.getPreEmitDiagnostics(program),
    ...diagnostics,
  ]);
  const format = process.stderr.isTTY ? ts.formatDiagnosticsWithColorAndContext : ts.formatDiagnostics;
  if (all.length > 0) console.error(format(all, formatHost));
  return { program, ok: !all.some((one) => one.category === ts.DiagnosticCategory.Error) };
}

// The names that exist at run time: classes, functions, constants, not types.
function publicNames(program) {
  const checker = program.getTypeChecker();
  const index = checker.getSymbolAtLocation(program.getSourceFile(path.join(lib, 'index.ts')));
  return checker
    .getExportsOfModule(index)
    .filter((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const typeOnly = symbol.declarations?.some(ts.isTypeOnlyImportOrExportDeclaration);
      return target.flags & ts.SymbolFlags.Value && !typeOnly && symbol.name !== 'default';
    })
    .map((symbol) => symbol.name)
    .sort();
}

function writeModuleEntry(names) {
  const list = names.map((name) => `  ${name},\n`).join('');
  writeFileSync(
    path.join(dist, 'index.mjs'),
    `import tesserae from './index.js';\n\nexport const {\n${list}} = tesserae;\n`,
  );
  writeFileSync(path.join(dist, 'index.d.mts'), "export * from './index.js';\n");
}

// Removes the compiled files of deleted sources.
function prune() {
  for (const entry of readdirSync(dist, { withFileTypes: true, recursive: true })) {
    const match = /^(.*?)(?:\.d\.ts|\.js|\.js\.map)$/.exec(entry.name);
    if (!entry.isFile() || !match) continue;
    const source = path.join(lib, path.relative(dist, entry.parentPath), match[1]);
    if (!existsSync(`${source}.ts`)) rmSync(path.join(entry.parentPath, entry.name));
  }
}

const { program, ok } = compile();
prune();
writeModuleEntry(publicNames(program));
if (ok) await bundleD3(root);

const cli = path.join(dist, 'cli/main.js');
if (existsSync(cli)) chmodSync(cli, 0o755);

const writeSchema = path.join(dist, 'cli/write_schema.js');
if (ok && existsSync(writeSchema)) {
  const { status } = spawnSync(process.execPath, [writeSchema, dist], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

if (!ok) process.exit(1);
markBuilt('typescript', started);
