// Writes the types of settings, with docstrings, from their schemas: types that zod infers have none. The schemas that a module
// of lib/ exports and registers with a name (lib/models/settings.ts) are declared in `<module>.generated.ts` beside it.
//   node scripts/declare_settings.mjs [--check] [--root FOLDER]    --check writes nothing and fails where a file is not current
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildSync } from 'esbuild';
import { format, resolveConfig } from 'prettier';

import { root as here } from './stale.mjs';

const { values: options } = parseArgs({
  options: { check: { type: 'boolean', default: false }, root: { type: 'string', default: here } },
});
const { root } = options;
const COMMENT_WIDTH = 120;

const sources = readdirSync(path.join(root, 'lib'), { recursive: true })
  .map((file) => path.posix.join('lib', file))
  .filter((file) => file.endsWith('.ts'));
const modules = sources
  .filter((file) => readFileSync(path.join(root, file), 'utf8').includes('register(settings'))
  .map((file) => file.replace(/\.ts$/, ''))
  .sort();
const { settings, texts, exported } = load();
const named = new Map(); // name → { module, schema }
modules.forEach((module, i) => {
  for (const schema of Object.values(exported[i]).filter((value) => value?._zod)) {
    const { name } = settings.get(schema) ?? {};
    if (name === undefined) continue;
    if (named.has(name)) throw new Error(`${name} is the name of two schemas`);
    named.set(name, { module, schema });
  }
});

const written = new Set();
let stale = false;
for (const module of modules) {
  const declared = [...named].filter(([, one]) => one.module === module);
  if (declared.length > 0) await write(module, declared);
}
for (const file of sources)
  if (file.endsWith('.generated.ts') && !written.has(file))
    complain(`${file} has no schema any more: remove it`);
if (stale) process.exit(1);

/** The modules, run from their sources without types, so that no build is needed. */
function load() {
  const loaded = ['lib/models/settings', 'lib/models/setting_text', ...modules];
  const { outputFiles } = buildSync({
    stdin: {
      contents: loaded.map((module, i) => `export * as m${i} from './${module}';`).join('\n'),
      resolveDir: root,
    },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    packages: 'external',
    write: false,
    outdir: 'out',
  });
  const module = { exports: {} };
  const run = new Function('module', 'require', '__dirname', outputFiles[0].text);
  run(module, createRequire(path.join(root, 'package.json')), root);
  const [registry, texts, ...exported] = loaded.map((_, i) => module.exports[`m${i}`]);
  return { settings: registry.settings, texts, exported };
}

async function write(module, declared) {
  const imports = new Map();
  const declarations = declared.map(([name, { schema }]) => declaration(name, schema, { module, imports }));
  const source = path.posix.basename(module);
  const text = [
    `// Generated from the schemas of ${source}.ts by 'npm run settings': change them instead.`,
    importLines(imports),
    ...declarations,
  ].join('\n\n');
  const file = `${module}.generated.ts`;
  const full = path.join(root, file);
  const wanted = await format(text, { ...(await resolveConfig(full)), filepath: full });
  written.add(file);
  if (existsSync(full) && readFileSync(full, 'utf8') === wanted) return;
  if (options.check) return complain(`${file} is not what its schemas say: run 'npm run settings'`);
  writeFileSync(full, wanted);
  console.log(`wrote ${file}`);
}

/** @param imports - the module of each name. */
function importLines(imports) {
  const sources = [...new Set(imports.values())].sort();
  const namesOf = (source) => [...imports.keys()].filter((name) => imports.get(name) === source).sort();
  return sources
    .map((source) => `import type { ${namesOf(source).join(', ')} } from '${source}';`)
    .join('\n');
}

function complain(message) {
  console.error(message);
  stale = true;
}

function declaration(name, schema, file) {
  const type = bareType(schema, file);
  const kind = schema.def.type === 'object' ? `interface ${name}` : `type ${name} =`;
  return `${comment(schema.description, '', settings.get(schema).example)}export ${kind} ${type}`;
}

/** How a schema's type is written where it is used. */
function typeOf(schema, file) {
  const { name, type, imports = {} } = settings.get(schema) ?? {};
  if (type !== undefined) {
    for (const [imported, from] of Object.entries(imports)) file.imports.set(imported, from);
    for (const word of type.match(/\w+/g)) if (named.has(word)) importNamed(word, file);
    return type;
  }
  if (name === undefined) return bareType(schema, file);
  importNamed(name, file);
  return name;
}

function importNamed(name, { module, imports }) {
  const from = named.get(name)?.module;
  if (from === undefined) throw new Error(`${name} must be exported, to be used by ${module}`);
  if (from === module) return;
  const relative = path.posix.relative(path.posix.dirname(module), from);
  imports.set(name, `${relative.startsWith('.') ? '' : './'}${relative}.generated`);
}

function bareType(schema, file) {
  const { def } = schema;
  switch (def.type) {
    case 'string':
    case 'number':
    case 'boolean':
      return def.type;
    case 'literal':
      return def.values.map((value) => JSON.stringify(value)).join(' | ');
    case 'enum':
      return Object.values(def.entries)
        .map((value) => JSON.stringify(value))
        .join(' | ');
    case 'nullable':
      return `${typeOf(def.innerType, file)} | null`;
    case 'optional':
    case 'nonoptional':
    case 'default':
      return typeOf(def.innerType, file);
    case 'array':
      return `readonly (${typeOf(def.element, file)})[]`;
    case 'union':
      return def.options.map((option) => typeOf(option, file)).join(' | ');
    case 'object':
      return `{\n${Object.entries(def.shape)
        .map(([name, field]) => property(name, field, file))
        .join('\n')}\n}`;
    default:
      throw new Error(`a schema of type ${def.type} in ${file.module} has no type: register one`);
  }
}

function property(name, schema, file) {
  const mark = schema.def.type === 'optional' || schema.def.type === 'default' ? '?' : '';
  return `${comment(texts.settingText(schema), '  ')}  readonly ${name}${mark}: ${typeOf(schema, file)};`;
}

/** A docstring, on one line where it fits. */
function comment(text, indent, example) {
  if (!text) throw new Error('a setting has no description');
  const line = `${indent}/** ${text} */`;
  if (line.length <= COMMENT_WIDTH && !example) return `${line}\n`;
  const lines = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && `${indent} * ${last} ${word}`.length <= COMMENT_WIDTH)
      lines.push(`${lines.pop()} ${word}`);
    else lines.push(word);
  }
  if (example) lines.push('', ...`@example${example}`.split('\n'));
  return [`${indent}/**`, ...lines.map((one) => `${indent} * ${one}`.trimEnd()), `${indent} */`, ''].join(
    '\n',
  );
}
