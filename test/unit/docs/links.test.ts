import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(__dirname, '../../..');
const check = (...given: string[]): { status: number | null; stderr: string } =>
  spawnSync(process.execPath, [path.join(root, 'scripts/check_links.mjs'), ...given], {
    cwd: root,
    encoding: 'utf8',
  });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tesserae-links-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('every link of the pages leads somewhere', () => {
  const pages = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'));
  const more = ['README.md', 'CONTRIBUTING.md', 'docs/tutorials', 'docs/decisions'];
  expect(check(...more, ...pages.map((name) => `docs/${name}`))).toMatchObject({ status: 0, stderr: '' });
});

it('finds missing files and headings', () => {
  writeFileSync(path.join(folder, 'other.md'), '# What `it` does, in short\n\n```md\n# In code\n```\n');
  const page = path.join(folder, 'page.md');
  const sound = '[a](other.md) [b](other.md#what-it-does-in-short) [c](https://example.org/none) [d](#here)';
  writeFileSync(page, `# Here\n\n${sound} \`[e](none.md)\`\n`);
  expect(check(folder)).toMatchObject({ status: 0, stderr: '' });
  writeFileSync(page, `${sound} [f](none.md) ![g](none.png) [h](other.md#in-code)\n`);
  const lines = ['#here', 'none.md', 'none.png', 'other.md#in-code'].map(
    (it) => `${page}: there is no ${it}\n`,
  );
  expect(check(folder)).toMatchObject({ status: 1, stderr: lines.join('') });
});
