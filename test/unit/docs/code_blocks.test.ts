/**
 * The code in the docs is valid: each `ts` block of README.md and docs/, and each @example of lib/, type-checks against the
 * public types; each `json` block is JSON, and a run's configuration is accepted.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { runSchema } from '../../../lib/cli/run_configuration';
import { eventSchema, metricsSchema } from '../../../lib/training/metrics';

const root = path.resolve(__dirname, '../../..');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(path.join(root, 'docs')).map((name) => `docs/${name}`),
]
  .filter((name) => name.endsWith('.md') && !name.endsWith('.api.md'))
  .sort();

/** Names that blocks use without declaring them. */
const GIVEN: Readonly<Record<string, string>> = {
  model: 'Model',
  trainer: 'Trainer',
  sampler: 'Sampler',
  tokenizer: 'Tokenizer',
  data: 'TextData',
  ...{ train: 'Dataset', evaluation: 'Dataset', dataset: 'Dataset' },
  ...{ options: 'TrainerOptions', maxSteps: 'number', prompt: 'string' },
  typeOfId: 'readonly number[]',
  allowedAfter: '(tokens: readonly number[]) => readonly number[]',
  eventsFrom: '(first: number) => AsyncIterable<Sequence>',
  ...{
    readFile: "typeof import('node:fs/promises').readFile",
    writeFile: "typeof import('node:fs/promises').writeFile",
  },
};

/** Files whose examples use what is not public. */
const INTERNAL = new Set(['graph/builder.ts', 'report/tensorboard.ts', 'threads/client.ts']);

/** Code of a page or a docstring. */
interface Block {
  readonly file: string;
  /** Lines before its first one. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
}

const textOf = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const linesBefore = (text: string, offset: number): number => text.slice(0, offset).split('\n').length - 1;

function blocksOfPage(file: string): Block[] {
  const text = textOf(file);
  return [...text.matchAll(/^( *)```(\w+)\n([^]*?)^\1```$/gm)].map(
    ({ index, 1: indent = '', 2: language = '', 3: code = '' }) => ({
      ...{ file, language, line: linesBefore(text, index) + 1 },
      code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    }),
  );
}

function examplesOf(file: string): Block[] {
  const text = textOf(file);
  return [...text.matchAll(/@example\n((?: *\* ?.*\n)*?)(?= *\*\/| *\* @)/g)].map(
    ({ index, 1: code = '' }) => ({
      ...{ file, language: 'ts', line: linesBefore(text, index) + 1 },
      code: code.replaceAll(/^ *\* ?/gm, ''),
    }),
  );
}

/** The public names as globals, which imports and declarations of a block shadow. */
function globals(): string {
  const index = ts.createSourceFile('index.ts', textOf('lib/index.ts'), ts.ScriptTarget.Latest);
  const names = index.statements
    .filter(ts.isExportDeclaration)
    .flatMap(({ isTypeOnly, exportClause }) =>
      exportClause && ts.isNamedExports(exportClause)
        ? exportClause.elements.flatMap((one) => [
            `type ${one.name.text} = import('tesserae').${one.name.text};`,
            ...(isTypeOnly || one.isTypeOnly
              ? []
              : [`declare const ${one.name.text}: typeof import('tesserae').${one.name.text};`]),
          ])
        : [],
    );
  return [...names, ...Object.entries(GIVEN).map(([name, type]) => `declare const ${name}: ${type};`)].join(
    '\n',
  );
}

function program(virtual: ReadonlyMap<string, string>): ts.Program {
  const { config } = ts.readConfigFile(path.join(root, 'tsconfig.json'), (file) => ts.sys.readFile(file)) as {
    config: { compilerOptions: object };
  };
  // Not every user's compiler is as strict as ours.
  const compilerOptions = {
    ...config.compilerOptions,
    noUncheckedIndexedAccess: false,
    paths: { tesserae: ['./lib/index.ts'] },
  };
  const { options } = ts.parseJsonConfigFileContent({ compilerOptions, files: [] }, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.fileExists = (file) => virtual.has(file) || fileExists(file);
  host.readFile = (file) => virtual.get(file) ?? readFile(file);
  const getSourceFile = host.getSourceFile.bind(host);
  host.getSourceFile = (file, target, ...rest) => {
    const text = virtual.get(file);
    return text === undefined
      ? getSourceFile(file, target, ...rest)
      : ts.createSourceFile(file, text, target);
  };
  return ts.createProgram([...virtual.keys()], options, host);
}

/** The compiler's errors for blocks, as `file:line message`. */
function mistakes(blocks: readonly Block[]): string[] {
  const scope = [path.join(root, 'globals.d.ts'), globals()] as const;
  const files = new Map(blocks.map((block, i) => [path.join(root, `block_${i}.mts`), block]));
  const modules = [...files].map(([name, { code }]) => [name, `${code}\nexport {};\n`] as const);
  const all = program(new Map([scope, ...modules]));
  return [...files].flatMap(([name, { file, line }]) =>
    ts.getPreEmitDiagnostics(all, all.getSourceFile(name)).map(({ messageText, start = 0 }) => {
      const at = all.getSourceFile(name)?.getLineAndCharacterOfPosition(start).line ?? 0;
      return `${file}:${line + at + 1} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    }),
  );
}

const blocks = pages.flatMap(blocksOfPage);
const isOf = (language: string) => (block: Block) => block.language === language;

it('TypeScript of pages and of docstrings type-checks, and what is wrong is found with its line', () => {
  const sources = readdirSync(path.join(root, 'lib'), { recursive: true, encoding: 'utf8' });
  const examples = sources
    .filter((name) => name.endsWith('.ts') && !INTERNAL.has(name))
    .flatMap((name) => examplesOf(`lib/${name}`));
  const typescript = blocks.filter(isOf('ts'));
  expect(Math.min(typescript.length, examples.length)).toBeGreaterThan(10); // they were found
  const wrong = { file: 'page.md', line: 10, language: 'ts', code: 'model.dispose();\nmodel.learn();' };
  expect(mistakes([...typescript, ...examples, wrong])).toEqual([
    expect.stringMatching(/^page\.md:12 Property 'learn' does not exist/),
  ]);
});

it.each(blocks.filter(isOf('json')).map((block) => [`${block.file}:${block.line}`, block.code]))(
  'the JSON of %s is JSON, and accepted where it is a configuration',
  (_, code) => {
    const json = JSON.parse(code.startsWith('"') ? `{${code}}` : code) as object;
    if ('model' in json || 'training' in json)
      expect(runSchema.safeParse(json)).toMatchObject({ success: true });
  },
);

it.each(
  blocks.filter(isOf('jsonl')).flatMap(({ code }) =>
    code
      .trimEnd()
      .split('\n')
      .map((line) => [line]),
  ),
)('the line %s is JSON, and of a run where it has a type', (line) => {
  const json = JSON.parse(line) as Record<string, unknown>;
  if (!('type' in json) || json['type'] === 'error') return;
  expect([metricsSchema, eventSchema].some((schema) => schema.safeParse(json).success)).toBe(true);
});
