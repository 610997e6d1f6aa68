import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AppendedFile } from '../../../lib/report/appended_file';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'appended-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('writes in the order of the calls', async () => {
  const name = path.join(folder, 'file');
  const file = new AppendedFile(await open(name, 'wx'));
  const parts = Array.from({ length: 50 }, (_, i) => 'x'.repeat(50 - i) + String(i));
  for (const [i, part] of parts.entries()) file.append(i % 2 === 0 ? part : Buffer.from(part));
  await file.close();
  expect(await readFile(name, 'utf8')).toBe(parts.join(''));
});

it('throws at the end what went wrong, and writes nothing after it', async () => {
  const handle = await open('/dev/full', 'w');
  const writing = jest.spyOn(handle, 'appendFile');
  const file = new AppendedFile(handle);
  for (let i = 0; i < 3; i++) file.append('x');
  await expect(file.close()).rejects.toThrow('ENOSPC');
  expect(writing).toHaveBeenCalledTimes(1);
  await expect(handle.appendFile('x')).rejects.toThrow(); // it is closed
});
