import { mkdtemp, open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AppendedFile } from '../../../lib/report/appended_file';
import { failureOf } from '../support/errors';

let folder: string;
let name: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'appended-'));
  name = path.join(folder, 'file');
});
afterEach(() => rm(folder, { recursive: true }));

/** Makes calls of appendFile fail after each has written half of its content. */
async function onDisk(
  fails: (call: number) => boolean,
  troubles: string[] = [],
): Promise<{ file: AppendedFile; calls: () => number }> {
  const handle = await open(name, 'a');
  const real = handle.appendFile.bind(handle);
  let calls = 0;
  handle.appendFile = async (bytes) => {
    if (!fails(++calls)) return real(bytes);
    await real((bytes as Buffer).subarray(0, bytes.length >> 1));
    throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  };
  const file = new AppendedFile({
    path: name,
    open: () => Promise.resolve(handle),
    onTrouble: (message) => troubles.push(message),
  });
  return { file, calls: () => calls };
}

const written = (): Promise<string> => readFile(name, 'utf8');
/** Waits until started writes have ended. */
const settle = async (calls: () => number, wanted: number): Promise<void> => {
  while (calls() < wanted) await new Promise((resolve) => setImmediate(resolve));
  await written();
};

it('writes in the order of the calls', async () => {
  const file = new AppendedFile({ path: name, open: () => open(name, 'a') });
  const parts = Array.from({ length: 50 }, (_, i) => 'x'.repeat(50 - i) + String(i));
  for (const [i, part] of parts.entries()) file.append(i % 2 === 0 ? part : Buffer.from(part));
  await file.close();
  expect(await written()).toBe(parts.join(''));
});

it('tries a write that failed again with the next, without what it left half written', async () => {
  const troubles: string[] = [];
  const { file, calls } = await onDisk((call) => call === 2 || call === 3, troubles);
  for (let line = 1; line <= 5; line++) {
    file.append(`line ${line}\n`);
    await settle(calls, line);
  }
  await file.close();
  expect(await written()).toBe('line 1\nline 2\nline 3\nline 4\nline 5\n');
  expect(troubles).toEqual([
    expect.stringMatching(/file' can't be written \(ENOSPC.*\): its entries are kept in memory/),
  ]);
});

it('tries once more at the end', async () => {
  const { file } = await onDisk((call) => call === 1);
  file.append('x');
  await file.close();
  expect(await written()).toBe('x');
});

it('loses what does not fit in memory while the disk is full, and says how much', async () => {
  const troubles: string[] = [];
  let full = true;
  const { file, calls } = await onDisk(() => full, troubles);
  const large = Buffer.alloc(300_000, 'x');
  for (let i = 0; i < 5; i++) file.append(large);
  await settle(calls, 1);
  full = false;
  file.append('the end');
  await settle(calls, 2);
  expect(await failureOf('ERR_CONFIG', () => file.close())).toMatchObject({
    message: expect.stringMatching(/file' lacks 2 entries, .*: ENOSPC/) as string,
    details: { file: name, lost: 2 },
  });
  expect(await written()).toBe(`${'x'.repeat(900_000)}the end`);
  expect(troubles).toHaveLength(2);
  expect(troubles[1]).toMatch(/can be written again, but lacks 2 entries/);
});

it('reports at the end what was never written, and closes the file', async () => {
  const handles: FileHandle[] = [];
  const file = new AppendedFile({
    path: '/dev/full',
    open: async () => {
      const handle = await open('/dev/full', 'a');
      handles.push(handle);
      return handle;
    },
  });
  for (let i = 0; i < 3; i++) file.append('x');
  const { message } = await failureOf('ERR_CONFIG', () => file.close());
  expect(message).toMatch(/'\/dev\/full' lacks 3 entries/);
  expect(handles).toHaveLength(1);
  await expect(handles[0]!.appendFile('x')).rejects.toThrow(); // it is closed
});

it('opens a file later that can not be opened yet', async () => {
  let tries = 0;
  const file = new AppendedFile({
    path: name,
    open: () =>
      ++tries < 3
        ? Promise.reject(Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' }))
        : open(name, 'a'),
  });
  file.append('x');
  await file.close();
  expect(await written()).toBe('x');
  expect(tries).toBe(3);
});
