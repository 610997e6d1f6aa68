import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeCheckpoint, type UnwrittenCheckpoint } from '../../../lib/checkpoint/checkpoint_writer';
import { files } from '../../../lib/checkpoint/files';
import {
  checkpointFolder,
  latestGoodCheckpoint,
  prepareRunFolder,
  removeLeftovers,
} from '../../../lib/checkpoint/run_folder';
import type { TesseraeError } from '../../../lib/errors';
import { failureOf } from '../support/errors';
import { isRead, withFaults, withoutSyncs, type Calls, type Fault } from '../support/faulty_files';
import { smallCheckpoint, valueOf as valueIn } from '../support/small_checkpoint';

let syncAgain: () => void;
beforeAll(() => (syncAgain = withoutSyncs()));
afterAll(() => syncAgain());

let run: string;
beforeEach(async () => {
  run = await mkdtemp(path.join(tmpdir(), 'tesserae-faults-'));
});
afterEach(() => rm(run, { recursive: true }));

const at = (step: number): string => checkpointFolder(run, step);
const checkpoint = (step: number, value: number): UnwrittenCheckpoint => smallCheckpoint(run, step, value);
const valueOf = (step: number): Promise<number | undefined> => valueIn(run, step);

/** Steps 1 and 2 exist; then a save replaces the second, or makes the first one too many. */
const saves: [string, number][] = [
  ['replaces one of its name', 2],
  ['makes an older one too many', 3],
];
const faults: Pick<Fault, 'code' | 'stays'>[] = [
  { code: 'ENOSPC', stays: true },
  { code: 'EIO', stays: false },
  { code: 'EACCES', stays: false },
];

describe.each(saves)('a save that %s', (_, step) => {
  const prepare = async (): Promise<void> => {
    for (const name of await readdir(run)) await rm(path.join(run, name), { recursive: true });
    for (const earlier of [1, 2]) await writeCheckpoint(checkpoint(earlier, earlier));
  };
  const save = (fault: Fault): Promise<{ calls: Calls; error: unknown }> =>
    withFaults(fault, () => writeCheckpoint(checkpoint(step, 9)));

  it('is complete after short writes', async () => {
    await prepare();
    expect((await save({ code: 'EIO', at: Infinity, stays: false })).error).toBeUndefined();
    expect(await valueOf(step)).toBe(9);
    expect((await readdir(run)).sort()).toEqual([...new Set([step - 1, step])].map((s) => `checkpoint-${s}`));
  });

  it.each(faults)('loses nothing, whichever of its calls fails with %j', async (fault) => {
    await prepare();
    const { calls } = await save({ ...fault, at: Infinity });
    const kinds = new Set(calls.map((call) => call.split(' ')[0]));
    expect([...kinds].sort()).toEqual(
      [
        'close',
        'mkdir',
        'open',
        'read',
        'readText',
        'readdir',
        'remove',
        'rename',
        'sizeOf',
        'sync',
        'write',
      ].sort(),
    );
    for (let n = 1; n <= calls.length; n++) {
      await prepare();
      const { error } = await save({ ...fault, at: n });
      const where = { call: calls[n - 1], ...fault };
      if (error !== undefined || !isRead(calls[n - 1] ?? ''))
        expect({ where, error: (error as { code?: string } | undefined)?.code }).toEqual({
          where,
          error: 'ERR_CHECKPOINT',
        });
      const whole = async (): Promise<(number | undefined)[]> => [
        await valueOf(1),
        await valueOf(2),
        ...(step === 3 ? [await valueOf(3)] : []),
      ];
      // A checkpoint that exists is unchanged, and one that is neither replaced nor too many exists.
      const expectNothingLost = async (): Promise<void> => {
        const [first, second, third] = await whole();
        expect({ where, second }).toEqual({ where, second: step === 2 && second === 9 ? 9 : 2 });
        if (step === 2 || third === undefined) expect({ where, first }).toEqual({ where, first: 1 });
        else expect({ where, third }).toEqual({ where, third: 9 });
      };
      // If the disk was left as it was, it may need a cleanup first.
      if (!fault.stays) await expectNothingLost();
      await prepareRunFolder(run, { bytes: 0, count: 1 });
      await expectNothingLost();
      const before = await readdir(run);
      expect({ where, before }).toEqual({
        where,
        before: before.filter((name) => /^checkpoint-\d+$/.test(name)),
      });
      // The next save works.
      await writeCheckpoint(checkpoint(4, 4));
      expect((await latestGoodCheckpoint(run)).directory).toBe(at(4));
      expect({ where, damaged: (await latestGoodCheckpoint(run)).damaged }).toEqual({ where, damaged: [] });
    }
  });
});

describe('the error of a save', () => {
  const failure = async (fault: Omit<Fault, 'stays'>): Promise<TesseraeError> => {
    const { error } = await withFaults({ ...fault, stays: false }, () => writeCheckpoint(checkpoint(1, 1)));
    return failureOf('ERR_CHECKPOINT', () => {
      throw error;
    });
  };
  const nth = async (call: RegExp): Promise<number> => {
    const { calls } = await withFaults({ code: 'EIO', at: Infinity, stays: false }, () =>
      writeCheckpoint(checkpoint(1, 1)),
    );
    await rm(at(1), { recursive: true });
    return calls.findIndex((one) => call.test(one)) + 1;
  };

  it('names the file, and how much space it takes', async () => {
    const { message, details } = await failure({ code: 'ENOSPC', at: await nth(/^write optimizer/) });
    expect(message).toMatch(
      /optimizer\.safetensors' can't be written: ENOSPC: .*; the disk is full: free space there, .* \(the checkpoint takes 180 B, .* are free\)$/,
    );
    expect(details).toMatchObject({ bytes: 180, free: expect.any(Number) as number });
  });

  it('says what to do without permission to write', async () => {
    const { message } = await failure({ code: 'EACCES', at: await nth(/^mkdir /) });
    expect(message).toMatch(/checkpoint-1' can't be written: EACCES.*let this user write there/);
  });

  it("says that the checkpoint was saved if an older one can't be removed", async () => {
    for (const step of [1, 2]) await writeCheckpoint(checkpoint(step, step));
    const third = (): Promise<void> => writeCheckpoint(checkpoint(3, 3));
    const { calls } = await withFaults({ code: 'EIO', at: Infinity, stays: false }, third);
    await rm(at(3), { recursive: true });
    await writeCheckpoint(checkpoint(1, 1));
    await writeCheckpoint(checkpoint(2, 2));
    const last = calls.findIndex((call) => call.startsWith('rename checkpoint-1')) + 1;
    expect(last).toBeGreaterThan(0);
    const { error } = await withFaults({ code: 'EACCES', at: last, stays: false }, third);
    expect(String(error)).toMatch(
      /checkpoint-1' can't be removed, though '.*checkpoint-3' was saved: EACCES/,
    );
    expect(await valueOf(3)).toBe(3);
  });

  it('does not wait for a disk that takes no bytes', async () => {
    const { error } = await withFaults({ code: 'EIO', at: Infinity, stays: false }, async () => {
      const open = files.open;
      files.open = async (name, flags) =>
        ({
          ...(await open(name, flags)),
          write: () => Promise.resolve({ bytesWritten: 0, buffer: new Uint8Array() }),
        }) as never;
      await writeCheckpoint(checkpoint(1, 1));
    });
    expect(String(error)).toMatch(/model\.safetensors' can't be written: the system wrote no bytes/);
  });
});

describe('what a crash left', () => {
  it("is reported if it can't be removed", async () => {
    await writeCheckpoint(checkpoint(1, 1));
    const { error } = await withFaults({ code: 'EACCES', at: 2, stays: false }, async () => {
      await mkdir(path.join(run, 'checkpoint-2.tmp-0123456789ab'));
      await removeLeftovers(run);
    });
    expect(String(error)).toMatch(
      /checkpoint-2\.tmp-0123456789ab' was left by a crash, and can't be removed: EACCES/,
    );
  });
});
