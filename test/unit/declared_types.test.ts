// Checks the gate "types of settings are those of their schemas": what scripts/declare_settings.mjs writes and reports.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(__dirname, '../..');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tesserae-settings-'));
  mkdirSync(path.join(folder, 'lib/models'), { recursive: true });
  for (const file of ['errors', 'models/settings', 'models/setting_text', 'models/validation'])
    copyFileSync(path.join(root, `lib/${file}.ts`), path.join(folder, `lib/${file}.ts`));
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const read = (file: string): string => readFileSync(path.join(folder, 'lib', file), 'utf8');
const write = (file: string, text: string): void => writeFileSync(path.join(folder, 'lib', file), text);

function declare(...flags: string[]): { status: number | null; stderr: string } {
  const script = path.join(root, 'scripts/declare_settings.mjs');
  return spawnSync(process.execPath, [script, '--root', folder, ...flags], { encoding: 'utf8' });
}

const schemaOf = (fields: string): string => `import { z } from 'zod';
import { settings } from './models/settings';
export const modeSchema = z.enum(['fast', 'slow']).describe('How.').register(settings, { name: 'Mode' });
export const paintSchema = z.strictObject({ ${fields} }).describe('Paints.').register(settings, { name: 'Paint' });
`;

it('declares named schemas, with what zod can not describe', () => {
  write(
    'paint.ts',
    schemaOf(`
      coats: z.int().min(1).max(20000).default(2).describe('Layers.'),
      mode: modeSchema.optional().describe('Which.'),
      level: z.union([z.literal(10000), z.array(modeSchema)]).nullable().describe('Where.'),
      mix: z.custom().optional().describe('Mixes.').register(settings, {
        type: '(by: Mixer) => Mode', imports: { Mixer: './mixer' },
      }),
    `),
  );
  expect(declare('--check')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('lib/paint.generated.ts is not what its schemas say') as string,
  });
  expect(declare()).toMatchObject({ status: 0, stderr: '' });
  expect(declare('--check')).toMatchObject({ status: 0, stderr: '' });
  expect(read('paint.generated.ts').replaceAll('"', "'"))
    .toBe(`// Generated from the schemas of paint.ts by 'npm run settings': change them instead.

import type { Mixer } from './mixer';

/** How. */
export type Mode = 'fast' | 'slow';

/** Paints. */
export interface Paint {
  /** Layers. An integer from 1 to 20,000. Default 2. */
  readonly coats?: number;
  /** Which. */
  readonly mode?: Mode;
  /** Where. */
  readonly level: 10000 | readonly Mode[] | null;
  /** Mixes. */
  readonly mix?: (by: Mixer) => Mode;
}
`);
});

it.each<[string, string, RegExp]>([
  ['a schema that changed', "coats: z.string().describe('Layers.')", /paint\.generated\.ts is not what/],
  ['a setting without a description', 'coats: z.string()', /a setting has no description/],
  ['a type that zod does not know', "mix: z.custom().describe('Mixes.')", /register one/],
])('%s fails', (_what, fields, message) => {
  write('paint.ts', schemaOf(fields));
  expect(declare('--check')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(message) as string,
  });
});

it('a file whose schemas are gone fails', () => {
  write('paint.ts', 'export {};\n');
  expect(declare('--check')).toMatchObject({
    status: 1,
    stderr: 'lib/paint.generated.ts has no schema any more: remove it\n',
  });
});
