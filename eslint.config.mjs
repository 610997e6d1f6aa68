import path from 'node:path';

import eslint from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

import { layersRule } from './scripts/eslint_layers.mjs';

const root = import.meta.dirname;

const nodeGlobals = Object.fromEntries(
  Object.getOwnPropertyNames(globalThis)
    .concat('require', 'module', 'exports', '__dirname', '__filename')
    .map((name) => [name, 'readonly']),
);

const addonImports = {
  patterns: [{ regex: '^node-gyp-build$|\\.node$', message: 'Only lib/native.ts touches the addon.' }],
};

export default defineConfig(
  globalIgnores(['dist/', 'build*/', 'prebuilds/', 'coverage/', 'runs/', '.gpu/', 'test/fixtures/']),
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      eqeqeq: 'error',
      'prefer-const': 'error',
    },
  },
  {
    files: ['lib/**/*.ts'],
    plugins: { tesserae: { rules: { layers: layersRule } } },
    rules: {
      'tesserae/layers': ['error', { lib: path.join(root, 'lib') }],
      'no-restricted-imports': ['error', addonImports],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'CallExpression > SpreadElement',
          message: 'A call takes about 100,000 arguments: loop over data, or use lib/models/extremes.ts.',
        },
      ],
    },
  },
  {
    files: ['lib/data/json_tokenizer/library.ts'], // loads a native library at the first tokenizer.json
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
  {
    files: ['lib/native.ts'], // loads it at the first native call
    rules: { 'no-restricted-imports': 'off', '@typescript-eslint/no-require-imports': 'off' },
  },
  // Only the command line and its report write to the terminal.
  { files: ['lib/**/*.ts'], ignores: ['lib/cli/**', 'lib/report/**'], rules: { 'no-console': 'error' } },
  {
    files: ['lib/cli/**/*.ts'],
    ignores: ['lib/cli/terminal.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector:
            'CallExpression[callee.property.name="write"][callee.object.property.name=/^std(out|err)$/]',
          message:
            'Write with print, printText or printJson of lib/cli/terminal.ts, which filter control characters.',
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // expect(mock.method) and awaiting helpers that happen to be synchronous are ordinary in tests
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
  { files: ['**/*.{js,mjs,cjs}'], languageOptions: { globals: nodeGlobals } },
);
