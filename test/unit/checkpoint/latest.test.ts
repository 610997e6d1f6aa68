import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findCheckpoint } from '../../../lib/checkpoint/checkpoint';
import { writeCheckpoint } from '../../../lib/checkpoint/checkpoint_writer';
import { listCheckpoints, latestGoodCheckpoint, type Rotation } from '../../../lib/checkpoint/run_folder';
import { withoutSyncs } from '../support/faulty_files';

const NAMES = ['config.json', 'model.safetensors', 'trainer_state.json', 'manifest.json'];
let run: string;
let withSyncs: () => void;
beforeEach(async () => {
  run = await mkdtemp(path.join(tmpdir(), 'tesserae-latest-'));
  withSyncs = withoutSyncs();
});
afterEach(async () => {
  jest.restoreAllMocks();
  withSyncs();
  await rm(run, { recursive: true });
});

const FIXTURE = path.join(__dirname, '../../fixtures/run_v1/checkpoint-4');

/** Saves a checkpoint when the clock shows an hour. */
async function saveAt(hour: number, step: number, loss = 1, rotation?: Rotation): Promise<void> {
  const state = JSON.parse(await readFile(path.join(FIXTURE, 'trainer_state.json'), 'utf8')) as object;
  jest.spyOn(Date.prototype, 'toISOString').mockReturnValue(`2026-01-01T0${hour}:00:00.000Z`);
  await writeCheckpoint({
    directory: path.join(run, `checkpoint-${step}`),
    names: NAMES,
    files: [
      ['config.json', '{}'],
      ['model.safetensors', 'not read here'],
      ['trainer_state.json', JSON.stringify({ ...state, evaluationLoss: loss })],
    ],
    rotation,
  });
}

/** Gives a checkpoint the manifest of releases that had no save numbers. */
async function asOfVersion1(step: number): Promise<void> {
  const name = path.join(run, `checkpoint-${step}`, 'manifest.json');
  const { saved, files } = JSON.parse(await readFile(name, 'utf8')) as { saved: string; files: object };
  await writeFile(name, JSON.stringify({ version: 1, saved, files }));
}

const order = async (): Promise<number[]> => (await listCheckpoints(run)).map(({ step }) => step);
const latest = async (): Promise<string> => path.basename((await latestGoodCheckpoint(run)).directory);

it('is the one that was saved last, though the clock was set back, for resuming and for loading', async () => {
  await saveAt(5, 10);
  await saveAt(4, 20);
  await saveAt(3, 30);
  expect(await order()).toEqual([30, 20, 10]);
  expect(await latest()).toBe('checkpoint-30');
  expect(path.basename(await findCheckpoint(run))).toBe('checkpoint-30');
});

it('is that of a shorter run into the same folder, and of a checkpoint that was saved again', async () => {
  for (const step of [10, 20, 10]) await saveAt(5, step);
  expect(await order()).toEqual([10, 20]);
  expect(path.basename(await findCheckpoint(run))).toBe('checkpoint-10');
});

it('is not one of an earlier release, which the clock orders among themselves', async () => {
  for (const [hour, step] of [
    [8, 20],
    [9, 10],
  ] as const) {
    await saveAt(hour, step);
    await asOfVersion1(step);
  }
  expect(await order()).toEqual([10, 20]);
  await saveAt(1, 5);
  expect(await order()).toEqual([5, 10, 20]);
});

it('decides what is removed, whatever the clock says', async () => {
  const rotation = { run, limit: 2, bestLimit: 0 };
  for (const [hour, step] of [
    [9, 1],
    [8, 2],
    [7, 3],
  ] as const)
    await saveAt(hour, step, 1, rotation);
  expect((await readdir(run)).sort()).toEqual(['checkpoint-2', 'checkpoint-3']);
});

it('a loss that was changed on the disk makes no checkpoint the best', async () => {
  const rotation = { run, limit: 1, bestLimit: 1 };
  await saveAt(1, 1, 5, rotation);
  await saveAt(1, 2, 3, rotation);
  await saveAt(1, 3, 4, rotation);
  expect((await readdir(run)).sort()).toEqual(['checkpoint-2', 'checkpoint-3']);
  const name = path.join(run, 'checkpoint-3', 'trainer_state.json');
  await writeFile(name, (await readFile(name, 'utf8')).replace('"evaluationLoss":4', '"evaluationLoss":2'));
  const [changed] = await listCheckpoints(run);
  expect(changed).toMatchObject({ step: 3, damaged: { code: 'ERR_CHECKPOINT' } });
  expect(changed).not.toHaveProperty('evaluationLoss');
});
