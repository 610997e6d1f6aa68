import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeFolder } from '../../../lib/report/make_folder';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(path.join(tmpdir(), 'make-folder-'))));
afterAll(() => rm(folder, { recursive: true }));

it('makes a folder and those above it, once or again, two at a time', async () => {
  const deep = path.join(folder, 'a', 'b', 'c');
  await Promise.all([makeFolder(deep), makeFolder(deep)]);
  await makeFolder(deep);
  expect((await stat(deep)).isDirectory()).toBe(true);
});

it('does not take a file for a folder', async () => {
  const file = path.join(folder, 'file');
  await writeFile(file, '');
  await expect(makeFolder(file)).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeFolder(path.join(file, 'below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
});

it('fails if the file system has no room for folders, and says so', async () => {
  await expect(makeFolder('/proc/run/deep')).rejects.toMatchObject({ code: 'ENOENT' });
});
