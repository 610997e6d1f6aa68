import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeCheckpoint } from '../../../lib/checkpoint/checkpoint_writer';
import { latestGoodCheckpoint, removeLeftovers } from '../../../lib/checkpoint/run_folder';
import { smallCheckpoint, valueOf } from '../support/small_checkpoint';
import { LOSSES, recordChanges, UnreliableDisk, type Change } from '../support/unreliable_disk';

/** Saves two checkpoints, a third that makes the first one too many, and one that replaces the third. */
const SAVES = [
  { step: 1, value: 1 },
  { step: 2, value: 2 },
  { step: 3, value: 3 },
  { step: 3, value: 4 },
] as const;

let folder: string;
let log: Change[];
/** The number of changes requested when each save was done. */
const done: number[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-power-'));
  const run = path.join(folder, 'recorded');
  const recording = recordChanges(run);
  try {
    for (const { step, value } of SAVES) {
      await writeCheckpoint(smallCheckpoint(run, step, value));
      done.push(recording.log.length);
    }
  } finally {
    recording.end();
  }
  ({ log } = recording);
});
afterAll(() => rm(folder, { recursive: true }));

it('has a log with every kind of change', () => {
  expect([...new Set(log.map(({ kind }) => kind))].sort()).toEqual(
    ['create', 'mkdir', 'remove', 'rename', 'sync', 'write'].sort(),
  );
});

it.each(LOSSES)(
  'a power failure after any of the changes, with %s that were not synced lost, loses no save',
  async (loss) => {
    const disk = new UnreliableDisk();
    const left = path.join(folder, 'left');
    for (let n = 0; n <= log.length; n++) {
      if (n > 0) disk.apply(log[n - 1]!);
      await disk.afterPowerFailure(loss, left);
      const where = { loss, changes: n, last: log[n - 1] };
      const saved = done.filter((count) => count <= n).length;
      await removeLeftovers(left);
      const found = await latestGoodCheckpoint(left).then(
        ({ directory }) => directory,
        () => undefined,
      );
      if (found === undefined) expect({ where, saved }).toEqual({ where, saved: 0 });
      else {
        // It is the last saved checkpoint, or the one being saved.
        const step = Number(/\d+$/.exec(found)?.[0]);
        const allowed = SAVES.slice(Math.max(0, saved - 1), saved + 1);
        expect({ where, allowed }).toEqual({
          where,
          allowed: expect.arrayContaining([{ step, value: await valueOf(left, step) }]) as unknown,
        });
      }
      await rm(left, { recursive: true });
    }
  },
);
