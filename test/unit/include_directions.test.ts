// Checks the gate "a folder imports only from those below it": what it accepts and what it reports.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(__dirname, '../..');

describe('includes in native/', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tesserae-includes-'));
    for (const layer of ['binding', 'engine', 'ops', 'runtime', 'runner']) {
      write(`${layer}/${layer}.h`, '#pragma once\n#include <vector>\n');
    }
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function write(file: string, text: string): void {
    const target = path.join(folder, 'native', file);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, text);
  }

  function check(): { status: number | null; stderr: string } {
    const script = path.join(root, 'scripts/check_includes.mjs');
    return spawnSync(process.execPath, [script, '--root', folder], { encoding: 'utf8' });
  }

  test.each([
    ['a lower layer', 'engine/a.cc', '"ops/ops.h"'],
    ['its own layer', 'ops/norm/cpu.cc', '"ops/ops.h"'],
    ['Node-API from binding', 'binding/a.cc', '<napi.h>'],
    ['the engine from the runner', 'runner/main.cc', '"engine/engine.h"'],
  ])('%s may be included', (_, file, header) => {
    write(file, `#include ${header}\n`);
    expect(check()).toMatchObject({ status: 0, stderr: '' });
  });

  test.each([
    ['a higher layer', 'runtime/a.h', '"ops/ops.h"', /runtime may import from no other layer, not from ops/],
    ['a higher layer from a kernel', 'ops/norm/cuda.cu', '"engine/engine.h"', /not from engine/],
    [
      'binding from the runner',
      'runner/main.cc',
      '"binding/binding.h"',
      /runner may import only from engine.*not from binding/,
    ],
    ['the runner', 'engine/a.cc', '"runner/runner.h"', /not from runner/],
    ['a path that is not relative to native/', 'ops/norm/cpu.cc', '"../ops.h"', /relative to native/],
    ['Node-API below binding', 'engine/a.cc', '<napi.h>', /only binding\/ knows Node-API/],
    ['a folder outside the layers', 'extras/a.cc', '"runtime/runtime.h"', /'extras' is in no layer/],
  ])('%s is reported', (_, file, header, message) => {
    write(file, `#include <map>\n#include ${header}\n`);
    const { status, stderr } = check();
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).toContain(`native/${file}:2:`);
  });
});

describe('imports in lib/', () => {
  const allowed: [file: string, code: string][] = [
    ['cli/train.ts', "import { Trainer } from '../training/trainer';"],
    ['training/trainer.ts', "import { native } from '../native'; import { x } from './schedule';"],
    ['models/gpt2.ts', "export * from '../graph'; import 'node:fs';"],
    ['native.ts', "import { TesseraeError } from './errors.js';"],
    ['cli/main.ts', "import info from '../../package.json';"],
    ['index.ts', "export * from './cli/main'; export * from './graph';"],
  ];
  const refused: [file: string, code: string, message: RegExp][] = [
    ['graph/graph.ts', "import { gpt2 } from '../models/gpt2';", /graph may import only from native\.ts/],
    ['graph/deep/x.ts', "import type { T } from '../../training/trainer';", /not from training/],
    ['errors.ts', "import { native } from './native';", /errors\.ts may import from no other layer/],
    ['data/text.ts', "export { sample } from '../sampling';", /not from sampling/],
    ['data/text.ts', "export * from '../checkpoint/files.js';", /not from checkpoint/],
    ['report/plot.ts', "const late = await import('../data/text');", /not from data/],
    ['report/plot.ts', "const late = require('../cli/main');", /not from cli/],
    ['report/plot.ts', "type T = import('../training/trainer').T;", /not from training/],
    ['models/gpt2.ts', "import '../index';", /'index\.ts' is in no layer/],
    ['extras/x.ts', "import '../errors';", /'extras' is in no layer/],
  ];

  // ESLint loads its configuration by import(), which jest's sandbox does not have: it runs in a process of its own.
  const program = `
    import path from 'node:path';
    import { Linter } from 'eslint';
    import tseslint from 'typescript-eslint';
    import { layersRule } from './scripts/eslint_layers.mjs';
    const lib = path.resolve('lib');
    const config = [{
      files: ['**/*.ts'],
      languageOptions: { parser: tseslint.parser },
      plugins: { tesserae: { rules: { layers: layersRule } } },
      rules: { 'tesserae/layers': ['error', { lib }] },
    }];
    const lint = ([file, code]) => new Linter().verify(code, config, { filename: path.join(lib, file) });
    console.log(JSON.stringify(JSON.parse(process.argv[1]).map(lint)));
  `;
  let messages: { message: string }[][];

  beforeAll(() => {
    const cases = [...allowed, ...refused].map(([file, code]) => [file, code]);
    const args = ['--input-type=module', '--eval', program, JSON.stringify(cases)];
    const output = execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    messages = JSON.parse(output) as { message: string }[][];
  });

  test.each(allowed.map(([file, code], index) => ({ file, code, index })))(
    '$file: $code is let through',
    ({ index }) => expect(messages[index]).toEqual([]),
  );

  test.each(refused.map(([file, code, message], index) => ({ file, code, message, index })))(
    '$file: $code is reported',
    ({ message, index }) => {
      expect(messages[allowed.length + index]).toEqual([
        expect.objectContaining({
          ruleId: 'tesserae/layers',
          message: expect.stringMatching(message) as string,
        }),
      ]);
    },
  );
});
