import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeDirectory } from '../../../lib/checkpoint/atomic_directory';
import { removeLeftoversOf } from '../../../lib/report/leftovers';
import { replaceFile } from '../../../lib/report/replace_file';
import { isLeftover, parseTemporary, temporaryPath } from '../../../lib/report/temporary_path';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-leftovers-'));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string): string => path.join(folder, name);

/** A name of a process that has ended. */
const deadName = (target: string, kind: string): string => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  return `${target}.${kind}-${pid}-12345-0123456789ab`;
};

/** A name with this process's id but another start time. */
const reusedName = (target: string): string => `${target}.tmp-${process.pid}-1-0123456789ab`;

describe('the name of a temporary', () => {
  it('says whose it is, for what and why', () => {
    const parsed = parseTemporary(path.basename(temporaryPath(at('a.tmp-b'), 'old')));
    expect(parsed).toEqual({
      target: 'a.tmp-b',
      kind: 'old',
      owner: { pid: process.pid, started: expect.stringMatching(/^[1-9]\d*$/) as string },
    });
    expect(parseTemporary('checkpoint-5.trash-0123456789ab')).toEqual({
      target: 'checkpoint-5',
      kind: 'trash',
    });
    for (const other of ['a', 'a.tmp', 'a.tmp-1-2-x', '.tmp-0123456789ab', 'a.bak-0123456789ab'])
      expect(parseTemporary(other)).toBeUndefined();
  });

  it('is a leftover once its process has ended, though another has its id', async () => {
    const left = (name: string): Promise<boolean> => isLeftover(parseTemporary(name)!);
    expect(await left(temporaryPath('a', 'tmp'))).toBe(false);
    expect(await left(deadName('a', 'tmp'))).toBe(true);
    expect(await left(reusedName('a'))).toBe(true);
    expect(await left('a.tmp-0123456789ab')).toBe(false);
  });

  it('is a leftover of a process that was killed and that nobody has waited for', async () => {
    // The shell becomes a sleep, which never waits for its child.
    const shell = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [line] = (await once(shell.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    const state = async (): Promise<string> =>
      (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '');
    while ((await state())[0] !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5));
    const started = (await state()).split(' ')[19];
    expect(await isLeftover(parseTemporary(`a.tmp-${pid}-${started}-0123456789ab`)!)).toBe(true);
    shell.kill('SIGKILL');
    await once(shell, 'close');
  });
});

describe('removeLeftoversOf', () => {
  it('removes what dead processes left of one target, and nothing else', async () => {
    const living = temporaryPath(at('out'), 'tmp');
    const kept = [path.basename(living), 'out.tmp-0123456789ab', 'out2', deadName('out2', 'tmp'), 'out.tmp'];
    for (const name of kept) await mkdir(at(name));
    for (const name of [deadName('out', 'tmp'), reusedName('out'), deadName('out', 'trash')]) {
      await mkdir(at(name));
      await writeFile(path.join(at(name), 'file'), '');
    }
    await removeLeftoversOf(at('out'));
    expect((await readdir(folder)).sort()).toEqual([...kept].sort());
  });

  it('puts a target back that was moved aside for one that never came', async () => {
    await writeFile(at(deadName('out', 'old')), 'the old one');
    await removeLeftoversOf(at('out'));
    expect(await readdir(folder)).toEqual(['out']);
    expect(await readFile(at('out'), 'utf8')).toBe('the old one');
  });

  it('ignores missing folders', () => removeLeftoversOf(at('none/out')));
});

it('the next folder and the next file of the same name tidy up', async () => {
  await mkdir(at(deadName('out', 'tmp')));
  await writeDirectory(at('out'), ['a'], (temporary) => writeFile(path.join(temporary, 'a'), 'x'));
  await writeFile(at(deadName('loss.svg', 'tmp')), '<svg');
  await replaceFile(at('loss.svg'), '<svg/>');
  expect((await readdir(folder)).sort()).toEqual(['loss.svg', 'out']);
});

it("a file that can't be replaced stays unchanged, and nothing is left next to it", async () => {
  await mkdir(at('loss.svg'));
  await expect(replaceFile(at('loss.svg'), 'x')).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
  expect(await readdir(folder)).toEqual(['loss.svg']);
});
