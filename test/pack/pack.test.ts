/**
 * The package as users get it: packed, installed into an empty folder with only node, npm and sh on PATH, and used from
 * CommonJS, ES modules and TypeScript. `npm run prebuilds` comes first.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(__dirname, '../..');
/** What the README promises of the package. */
const MOST_BYTES = 50e6;

let scratch: string;
let tarball: string;
let project: string;
let environment: NodeJS.ProcessEnv;
/** What npm said. */
let installing: string;

beforeAll(() => {
  if (!existsSync(path.join(root, 'prebuilds/linux-x64'))) throw new Error('npm run prebuilds comes first');
  scratch = mkdtempSync(path.join(tmpdir(), 'pack-'));
  const packed = execFileSync(
    'npm',
    ['pack', '--silent', '--ignore-scripts', '--pack-destination', scratch],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  tarball = path.join(scratch, packed.trim());
  const bin = path.join(scratch, 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, path.join(bin, 'node'));
  for (const program of ['npm', 'sh'])
    symlinkSync(execFileSync('which', [program], { encoding: 'utf8' }).trim(), path.join(bin, program));
  project = path.join(scratch, 'project');
  mkdirSync(project);
  const { HOME, npm_config_cache, npm_config_registry } = process.env;
  environment = {
    PATH: bin,
    HOME,
    NO_COLOR: '1',
    ...(npm_config_cache === undefined ? {} : { npm_config_cache }),
    ...(npm_config_registry === undefined ? {} : { npm_config_registry }),
  };
  write('package.json', '{ "name": "project", "version": "1.0.0", "private": true }');
  write('book.txt', 'the cat sat on the mat and the dog lay on the log. '.repeat(40));
  const installed = spawnSync('npm', ['install', '--no-audit', '--no-fund', tarball], {
    cwd: project,
    env: environment,
    encoding: 'utf8',
  });
  if (installed.status !== 0) throw new Error(`npm install failed: ${installed.stderr}`);
  installing = installed.stdout + installed.stderr;
}, 180_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = path.join(project, name);
  writeFileSync(file, text);
  return file;
}

function node(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: project,
    env: environment,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const use = `
  const data = await openText('book.txt', { blockSize: 32, validationFraction: 0 });
  const model = await Model.create(
    { type: 'gpt2', vocabSize: 256, nPositions: 32, nEmbd: 32, nLayer: 1, nHead: 2 },
    { device: 'cpu', threads: 1 },
  );
  const trainer = new Trainer(model, { arguments: { maxSteps: 20, learningRate: 1e-2 }, train: data.train });
  const { loss } = await trainer.train();
  await saveModel(model, OUTPUT, { tokenizer: data.tokenizer });
  const loaded = await loadModel(OUTPUT, { device: 'cpu' });
  const { text } = await new Sampler(loaded.model, data.tokenizer).generate('the ', { maxNewTokens: 8, seed: 1 });
  model.dispose();
  await data.close();
  console.log(JSON.stringify({ learned: loss < 4, length: text.length > 0 }));`;

const names = 'Model, Trainer, Sampler, openText, saveModel, loadModel';

it('is small, has no install script, and holds what it says', () => {
  expect(statSync(tarball).size).toBeLessThan(MOST_BYTES);
  const installed = path.join(project, 'node_modules/tesserae');
  const { scripts } = JSON.parse(
    execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' }),
  ) as { scripts: Record<string, string> };
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
    expect(scripts).not.toHaveProperty(name);
  // With it npm would build, and warn of that.
  expect(existsSync(path.join(installed, 'binding.gyp'))).toBe(false);
  const prebuilt = readdirSync(path.join(installed, 'prebuilds/linux-x64'));
  expect(prebuilt).toEqual(expect.arrayContaining(['tesserae.glibc.node', 'licenses']));
  const licensed = readdirSync(path.join(installed, 'prebuilds/linux-x64/licenses'));
  expect(licensed.sort()).toEqual(prebuilt.filter((name) => name.includes('.so')).sort());
});

it('npm warns of nothing', () => {
  expect(installing).toMatch(/added \d+ packages/);
  expect(installing).not.toMatch(/warn/i);
});

it.each<[string, string, string]>([
  [
    'CommonJS',
    'use.cjs',
    `const { ${names} } = require('tesserae');\n(async () => {${use.replaceAll('OUTPUT', "'out-cjs'")}\n})();`,
  ],
  [
    'an ES module',
    'use.mjs',
    `import { ${names} } from 'tesserae';\n${use.replaceAll('OUTPUT', "'out-mjs'")}`,
  ],
])('trains, saves, loads and samples from %s', (_, file, script) => {
  const { status, stdout, stderr } = node(write(file, script));
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(JSON.parse(stdout)).toEqual({ learned: true, length: true });
});

it.each(['use.mts', 'use.cts'])(
  'type-checks %s with the declarations of everything that it imports',
  (file) => {
    const script = `import { ${names} } from 'tesserae';\nexport async function main(): Promise<void> {${use.replaceAll('OUTPUT', "'out-ts'")}\n}\n`;
    write(file, script);
    symlinkTypes();
    const { status, stdout } = node(
      path.join(root, 'node_modules/typescript/bin/tsc'),
      ...[
        '--noEmit',
        '--strict',
        '--skipLibCheck',
        'false',
        '--target',
        'es2022',
        '--lib',
        'es2023,esnext.disposable',
      ],
      ...['--module', 'nodenext', '--types', 'node', file],
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  },
);

/** Node's own types, which users of TypeScript have. */
function symlinkTypes(): void {
  const types = path.join(project, 'node_modules/@types');
  mkdirSync(types, { recursive: true });
  for (const name of ['@types/node', 'undici-types']) {
    const link = path.join(project, 'node_modules', name);
    if (!existsSync(link)) symlinkSync(path.join(root, 'node_modules', name), link);
  }
}

it('the command line trains, and the doctor finds nothing wrong', () => {
  const program = path.join(project, 'node_modules/.bin/tesserae');
  write(
    'run.json',
    JSON.stringify({
      model: { type: 'gpt2', nPositions: 32, nEmbd: 32, nLayer: 1, nHead: 2 },
      data: { text: 'book.txt' },
      training: { maxSteps: 3 },
      sampling: { maxNewTokens: 4 },
    }),
  );
  const trained = node(program, 'train', 'run.json', '--device', 'cpu');
  expect({ status: trained.status, stderr: trained.stderr }).toMatchObject({ status: 0 });
  const checked = node(program, 'doctor');
  expect({ status: checked.status, out: checked.stdout }).toEqual({
    status: 0,
    out: expect.stringContaining('Everything works.') as string,
  });
});

it('on a platform without a prebuild it can be imported, and the first native call says what is supported', () => {
  const script = `
    Object.defineProperty(process, 'platform', { value: 'darwin' });
    Object.defineProperty(process, 'arch', { value: 'arm64' });
    const { Model, ByteTokenizer } = require('tesserae');
    console.log(new ByteTokenizer().encode('a').length);
    Model.create({ type: 'gpt2', nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 1 }).catch(({ code, message }) =>
      console.log(code + ' ' + message),
    );`;
  const { status, stdout } = node(write('elsewhere.cjs', script));
  expect(status).toBe(0);
  expect(stdout).toMatch(/^1\nERR_NATIVE_LOAD [^]*tesserae runs on Linux x64 with glibc 2\.34 or newer/);
});

it('publint and are-the-types-wrong find nothing', () => {
  const tool = (name: string, ...args: string[]): { status: number | null; stdout: string } =>
    node(path.join(root, 'node_modules', name), ...args);
  expect(tool('publint/src/cli.js', tarball, '--strict')).toMatchObject({ status: 0 });
  // Node.js before 12 knew no "exports": we need a newer one, and editors alone read the schema.
  const wrong = tool(
    '@arethetypeswrong/cli/dist/index.js',
    tarball,
    '--no-emoji',
    '--no-color',
    '--profile',
    'node16',
  );
  expect(wrong).toMatchObject({ status: 0 });
});
