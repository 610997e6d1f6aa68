import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { listCheckpoints } from '../../../lib/checkpoint/run_folder';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-list-'));
});
afterEach(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});
const at = (step: number): string => path.join(folder, `checkpoint-${step}`);

it('lists every checkpoint of a run, the newest first, and which are damaged or pinned', async () => {
  const evaluation = countingDataset();
  const trainer = new Trainer(await tinyModel(), {
    arguments: { maxSteps: 8, batchSize: 2, saveSteps: 2, evalSteps: 4, outputDir: folder },
    ...{ train: countingDataset(), evaluation },
  });
  const losses = new Map<number, number>();
  for await (const event of trainer) if (event.type === 'evaluate') losses.set(event.step, event.loss);
  await writeFile(path.join(at(2), 'pinned'), '');
  await truncate(path.join(at(4), 'model.safetensors'), 100);
  await rm(path.join(at(6), 'manifest.json'));
  await writeFile(path.join(folder, 'checkpoint-9'), 'a file, no folder');
  await mkdir(path.join(folder, 'checkpoint-10.tmp-0123456789ab'));

  const found = await listCheckpoints(folder);
  const [newest] = found.filter(({ damaged }) => !damaged);
  expect(newest).toMatchObject({ directory: at(8), step: 8, pinned: false, evaluationLoss: losses.get(8) });
  expect(newest?.bytes).toBeGreaterThan(1000);
  expect(Math.abs(Date.now() - Number(newest?.saved))).toBeLessThan(60_000); // a test has that long
  const byStep = found.map(({ step, pinned, damaged }) => [step, pinned, damaged?.code]);
  expect(byStep.sort(([a], [b]) => Number(a) - Number(b))).toEqual([
    [2, true, undefined],
    [4, false, 'ERR_CHECKPOINT'],
    [6, false, 'ERR_CHECKPOINT'],
    [8, false, undefined],
    [9, false, 'ERR_CHECKPOINT'],
  ]);
  expect(found.find(({ step }) => step === 6)).not.toHaveProperty('saved');
  expect(found.find(({ step }) => step === 2)).not.toHaveProperty('evaluationLoss');
});

it('finds none without a folder, and refuses a file', async () => {
  expect(await listCheckpoints(path.join(folder, 'none'))).toEqual([]);
  await writeFile(path.join(folder, 'file'), '');
  await failureOf('ERR_CHECKPOINT', () => listCheckpoints(path.join(folder, 'file')));
});
