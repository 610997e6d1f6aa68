import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os, { tmpdir } from 'node:os';
import path from 'node:path';
import { files } from '../../../lib/checkpoint/files';
import { TesseraeError } from '../../../lib/errors';
import type { TrainingArguments } from '../../../lib/training/arguments';
import type { TrainerEvent } from '../../../lib/training/events';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

/** Checkpoints are written in this thread, where a test can reach the file operations. */
jest.mock('../../../lib/checkpoint/writer_thread', () => ({
  writeInThread: (...args: never[]) =>
    jest
      .requireActual<{ writeCheckpoint: (...args: never[]) => Promise<void> }>(
        '../../../lib/checkpoint/checkpoint_writer',
      )
      .writeCheckpoint(...args),
}));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-saving-'));
});
afterEach(async () => {
  jest.restoreAllMocks();
  disposeModels();
  await rm(folder, { recursive: true });
});

async function trainer(args: Partial<TrainingArguments> = {}): Promise<Trainer> {
  return new Trainer(await tinyModel({ residPdrop: 0.1 }), {
    arguments: { maxSteps: 6, batchSize: 2, learningRate: 1e-2, saveSteps: 2, outputDir: folder, ...args },
    train: countingDataset(),
    evaluation: countingDataset(),
  });
}

async function events(one: Trainer): Promise<TrainerEvent[]> {
  const all: TrainerEvent[] = [];
  for await (const event of one) all.push(event);
  return all;
}

const names = (all: readonly TrainerEvent[]): string[] =>
  all.filter(({ type }) => type === 'save' || type === 'warning').map(({ type, step }) => `${type} ${step}`);

const bits = ({ model: { native } }: Trainer): Promise<Float32Array> =>
  native.readTensor('moment2', 'transformer.wte.weight');

/** Makes the disk full for the checkpoints of these steps, each for a number of attempts. */
function fullFor(times: Record<number, number>): void {
  const { mkdir } = files;
  jest.spyOn(files, 'mkdir').mockImplementation((name) => {
    const step = Number(/checkpoint-(\d+)\.tmp/.exec(name)?.[1] ?? 0);
    if (step === 0 || !times[step]) return mkdir(name);
    times[step]--;
    return Promise.reject(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }));
  });
}

describe('a save that fails during a run', () => {
  it('is reported, does not change training, and the next save is tried', async () => {
    const undisturbed = await trainer({ outputDir: path.join(folder, 'undisturbed') });
    await undisturbed.train();
    const one = await trainer();
    fullFor({ 2: 1, 6: 1 });
    const all = await events(one);
    // The last one is tried again at once.
    expect(names(all)).toEqual(['warning 2', 'save 4', 'warning 6', 'save 6']);
    expect(all.find(({ type }) => type === 'warning')).toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(
        /checkpoint-2' can't be written: ENOSPC.*the next save will be tried$/,
      ) as string,
    });
    expect(all.at(-1)).toMatchObject({ type: 'end', checkpoint: path.join(folder, 'checkpoint-6') });
    expect(await bits(one)).toEqual(await bits(undisturbed));
    expect((await readdir(folder)).sort()).toEqual(['checkpoint-4', 'checkpoint-6', 'undisturbed']);
  });

  it.each([
    ['one after another', { 4: 1, 6: 1 }, 'checkpoint-2'],
    ['at the end', { 6: 2 }, 'checkpoint-4'],
  ])('ends the run when two fail %s', async (_, full, left) => {
    const one = await trainer();
    fullFor(full);
    const { message } = await failureOf('ERR_CHECKPOINT', () => events(one));
    expect(message).toMatch(/checkpoint-6' can't be written: ENOSPC.*The previous save failed too/);
    jest.restoreAllMocks();
    const again = await trainer();
    expect((await again.resume()).path).toBe(path.join(folder, left));
    await again.train();
    const undisturbed = await trainer({ outputDir: path.join(folder, 'undisturbed') });
    await undisturbed.train();
    expect(await bits(again)).toEqual(await bits(undisturbed));
  });

  it('becomes a process warning if nobody reads events', async () => {
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const one = await trainer();
    fullFor({ 2: 1 });
    await one.train();
    expect(warned).toHaveBeenCalledWith(expect.stringMatching(/checkpoint-2/), { code: 'ERR_CHECKPOINT' });
  });

  it('does not go unnoticed when the loop was left meanwhile', async () => {
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const { mkdir } = files;
    let leave = (): void => undefined;
    const left = new Promise<void>((resolve) => (leave = resolve));
    jest.spyOn(files, 'mkdir').mockImplementation(async (name) => {
      if (!name.includes('checkpoint-2.tmp')) return mkdir(name);
      await left;
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    });
    for await (const event of await trainer({ loggingSteps: 1 })) {
      if (event.type !== 'step' || event.step < 3) continue;
      leave();
      break;
    }
    expect(warned.mock.calls).toMatchObject([[{ code: 'ERR_CHECKPOINT' }]]);
  });
});

describe('writing while training continues', () => {
  it('holds the weights of its step, waits for the previous save, and the end waits for it', async () => {
    const { rename } = files;
    let underWay = 0;
    const log: string[] = [];
    jest.spyOn(files, 'rename').mockImplementation(async (from, to) => {
      expect(++underWay).toBe(1);
      // Training comes to its end meanwhile, and has a moment to begin with the next save, which it must not.
      while (one.globalStep < 6) await new Promise((resolve) => setTimeout(resolve, 1));
      await new Promise((resolve) => setTimeout(resolve, 60));
      log.push(`${path.basename(String(to))} at step ${one.globalStep}`);
      underWay--;
      return rename(from, to);
    });
    const one = await trainer({ saveSteps: 3, loggingSteps: 1 });
    const all = await events(one);
    expect(log).toEqual(['checkpoint-3 at step 6', 'checkpoint-6 at step 6']);
    expect(names(all)).toEqual(['save 3', 'save 6']);
    expect(all.at(-1)?.type).toBe('end');
    // What was written then is the model of step 3.
    jest.restoreAllMocks();
    const reference = await trainer({ maxSteps: 6, outputDir: path.join(folder, 'reference'), saveSteps: 0 });
    for await (const event of reference) if (event.type === 'step') break;
    const resumed = await trainer();
    await resumed.resume(path.join(folder, 'checkpoint-3'));
    await resumed.train();
    expect(await bits(resumed)).toEqual(await bits(one));
  });

  it('does not copy a model for which there is no memory: it waits', async () => {
    jest.spyOn(os, 'freemem').mockReturnValue(1000);
    const { rename } = files;
    let one: Trainer | undefined = undefined;
    const steps: number[] = [];
    jest.spyOn(files, 'rename').mockImplementation(async (from, to) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      steps.push((one as unknown as Trainer).globalStep);
      return rename(from, to);
    });
    one = await trainer();
    await one.train();
    expect(steps).toEqual([2, 4, 6]);
    expect((await (await trainer()).resume()).step).toBe(6);
  });
});

describe('a save for which there are no threads, files or memory', () => {
  it.each(['ERR_DEVICE', 'ERR_OUT_OF_MEMORY'] as const)(
    'is told, and the next one is tried: %s',
    async (code) => {
      const { mkdir } = files;
      let failures = 0;
      jest
        .spyOn(files, 'mkdir')
        .mockImplementation((name) =>
          /checkpoint-2\.tmp/.test(name) && ++failures === 1
            ? Promise.reject(new TesseraeError(code, 'there is no more'))
            : mkdir(name),
        );
      const all = await events(await trainer());
      expect(names(all)).toEqual(['warning 2', 'save 4', 'save 6']);
      expect(all.find(({ type }) => type === 'warning')).toMatchObject({ code });
    },
  );
});

describe('before the first step', () => {
  it("refuses a folder that can't be written, and does nothing", async () => {
    await writeFile(path.join(folder, 'file'), '');
    const one = await trainer({ outputDir: path.join(folder, 'file') });
    const { message } = await failureOf('ERR_CHECKPOINT', () => one.train());
    expect(message).toMatch(/file' can't hold a run's checkpoints: .*EEXIST/);
    expect(one.globalStep).toBe(0);
  });

  it('refuses a disk without space for one checkpoint', async () => {
    jest.spyOn(files, 'freeBytes').mockResolvedValue(1000);
    const one = await trainer();
    const { message, details } = await failureOf('ERR_CHECKPOINT', () => one.train());
    expect(message).toMatch(/has 1000 B free, but one checkpoint takes .* KiB: free .* KiB, or choose/);
    expect(details).toMatchObject({ free: 1000 });
    expect(one.globalStep).toBe(0);
    // Where all is done, nothing is needed.
    jest.restoreAllMocks();
    await one.train();
    jest.spyOn(files, 'freeBytes').mockResolvedValue(1000);
    expect((await one.train()).reason).toBe('maxSteps');
  });

  it.each([
    ['all are kept', {}, /the next 3 checkpoints/],
    ['some are kept', { maxSteps: 60, saveTotalLimit: 2, saveBestLimit: 2 }, /the next 5 checkpoints/],
  ])('warns of a disk without space for those to come, where %s', async (_, args, message) => {
    const one = await trainer(args);
    const size = 60_000;
    jest.spyOn(files, 'freeBytes').mockResolvedValue(size);
    const warnings: TrainerEvent[] = [];
    for await (const event of one) {
      if (event.type === 'warning') warnings.push(event);
      break;
    }
    expect(warnings).toMatchObject([
      { step: 0, code: 'ERR_CHECKPOINT', message: expect.stringMatching(message) as string },
    ]);
  });
});

describe('a folder with checkpoints of an earlier run', () => {
  const warnings = (all: readonly TrainerEvent[]): TrainerEvent[] =>
    all.filter(({ type }) => type === 'warning');

  it('is reported when a run starts over there, and changes nothing', async () => {
    expect(warnings(await events(await trainer({ maxSteps: 2 })))).toEqual([]);
    const anew = await events(await trainer());
    expect(warnings(anew)).toEqual([
      {
        type: 'warning',
        step: 0,
        code: 'ERR_CHECKPOINT',
        message: expect.stringMatching(
          /holds checkpoints of an earlier run: .* choose another outputDir$/,
        ) as string,
      },
    ]);
    expect(names(anew)).toEqual(['warning 0', 'save 2', 'save 4', 'save 6']);
  });

  it('is not reported when the run resumes', async () => {
    const one = await trainer();
    for await (const { type } of one) if (type === 'save') one.stop();
    const same = await trainer();
    await same.resume();
    expect(warnings(await events(same))).toEqual([]);
    // Stopped before its first step.
    const outputDir = path.join(folder, 'stopped');
    await (await trainer({ outputDir })).save(path.join(outputDir, 'checkpoint-0'));
    const begun = await trainer({ outputDir });
    await begun.resume();
    expect(warnings(await events(begun))).toEqual([]);
  });
});
