import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findCheckpoint, loadModel } from '../../../lib/checkpoint/checkpoint';
import { files } from '../../../lib/checkpoint/files';
import { latestGoodCheckpoint } from '../../../lib/checkpoint/run_folder';
import type { TesseraeError } from '../../../lib/errors';
import { Trainer } from '../../../lib/training/trainer';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

let run: string;
/** Every file of the later of two checkpoints. */
const whole = new Map<string, Buffer>();
const at = (step: number, ...names: string[]): string => path.join(run, `checkpoint-${step}`, ...names);

const trainer = async (): Promise<Trainer> =>
  new Trainer(await tinyModel(), {
    arguments: { maxSteps: 2, batchSize: 2, saveSteps: 1, outputDir: run },
    train: countingDataset(),
  });

beforeAll(async () => {
  run = await mkdtemp(path.join(tmpdir(), 'tesserae-damage-'));
  await (await trainer()).train();
  for (const name of await readdir(at(2))) whole.set(name, await readFile(at(2, name)));
});
afterAll(() => rm(run, { recursive: true }));
afterEach(async () => {
  disposeModels();
  for (const [name, bytes] of whole) await writeFile(at(2, name), bytes);
});

const NAMES = [
  'config.json',
  'manifest.json',
  'model.safetensors',
  'optimizer.safetensors',
  'trainer_state.json',
] as const;

/** Which checkpoint is found; errors are coded. */
async function found(): Promise<{ step: number; damaged: readonly TesseraeError[] }> {
  const { directory, damaged } = await latestGoodCheckpoint(run);
  return { step: Number(/\d+$/.exec(directory)?.[0]), damaged };
}

/** One place for every kind of byte in a file: the first and the last, in the tensors' header, in each kind of text. */
function places(name: string, bytes: Buffer): number[] {
  const chosen = new Set([0, 1, bytes.length >> 1, bytes.length - 2, bytes.length - 1]);
  if (name.endsWith('.safetensors')) {
    const header = Number(bytes.readBigUInt64LE());
    // The header's length, its first and last byte, its padding and the first and last tensor.
    for (const place of [2, 7, 8, 9, 8 + header - 1, 8 + header, bytes.length - 5]) chosen.add(place);
    for (const word of ['__metadata__', 'dtype', 'shape', 'data_offsets', 'F32', 'transformer.wte'])
      chosen.add(bytes.indexOf(word));
  } else
    for (const match of bytes.toString('latin1').matchAll(/[{}":,\n ]|[0-9]|[a-z]/g)) {
      // The first of each of these marks, and one in thirty of the rest.
      if (match.index % 30 === 0 || match.index < 40) chosen.add(match.index);
    }
  return [...chosen].filter((place) => place >= 0 && place < bytes.length);
}

describe.each(NAMES)('%s', (name) => {
  it('with a flipped bit is refused, and the checkpoint before is found', async () => {
    const bytes = whole.get(name)!;
    let refused = 0;
    for (const place of places(name, bytes))
      for (const bit of [1, 0x20, 0x80]) {
        const flipped = Buffer.from(bytes);
        flipped[place]! ^= bit;
        await writeFile(at(2, name), flipped);
        const { step, damaged } = await found();
        const where = { name, place, bit, text: flipped.subarray(place - 5, place + 5).toString('latin1') };
        expect({ where, step, damaged: damaged.map(({ code }) => code) }).toEqual({
          where,
          step: 1,
          damaged: ['ERR_CHECKPOINT'],
        });
        refused++;
      }
    expect(refused).toBeGreaterThan(20);
  });

  it('cut anywhere is refused, and the checkpoint before is found', async () => {
    const bytes = whole.get(name)!;
    const lengths = [0, 1, 7, 8, 9, 512, 4096, bytes.length >> 1, bytes.length - 4, bytes.length - 2];
    for (const length of lengths.filter((one) => one < bytes.length - 1)) {
      await writeFile(at(2, name), bytes.subarray(0, length));
      expect({ length, ...(await found()) }).toMatchObject({
        length,
        step: 1,
        damaged: [{ code: 'ERR_CHECKPOINT' }],
      });
      // Loading only the model reports it too.
      if (name === 'config.json' || name === 'model.safetensors')
        await expect(loadModel(at(2), { device: 'cpu', threads: 1 })).rejects.toMatchObject({
          code: 'ERR_CHECKPOINT',
        });
    }
    // With zero bytes instead, as some file systems leave a file after a crash.
    for (const length of [0, 512])
      for (const tail of [Buffer.alloc(bytes.length - length), Buffer.alloc(bytes.length)]) {
        await writeFile(at(2, name), Buffer.concat([bytes.subarray(0, length), tail]));
        expect((await found()).step).toBe(1);
      }
  });
});

it('files of another checkpoint are not accepted as its own', async () => {
  for (const name of NAMES.filter((one) => one !== 'manifest.json' && one !== 'config.json')) {
    await cp(at(1, name), at(2, name));
    expect((await found()).step).toBe(1);
    await writeFile(at(2, name), whole.get(name)!);
  }
});

it('a run continues from the checkpoint that is found', async () => {
  await writeFile(at(2, 'optimizer.safetensors'), '');
  const one = await trainer();
  expect(await one.resume()).toMatchObject({ step: 1, damaged: [{ code: 'ERR_CHECKPOINT' }] });
  await one.train();
  for (const name of ['model.safetensors', 'optimizer.safetensors'])
    expect(await readFile(at(2, name))).toEqual(whole.get(name));
});

describe('what this user may not read', () => {
  const forbidden = (): Error =>
    Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES', syscall: 'open' });
  afterEach(() => jest.restoreAllMocks());

  it('is not called damaged: a file', async () => {
    const { open } = files;
    jest
      .spyOn(files, 'open')
      .mockImplementation((name, flags) =>
        name === at(2, 'model.safetensors') ? Promise.reject(forbidden()) : open(name, flags),
      );
    const message = /model\.safetensors' can't be read: EACCES: permission denied; let this user read it$/;
    await expect(loadModel(at(2), { device: 'cpu' })).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message) as string,
    });
    // It may be intact, so no run resumes from the previous one and overwrites it.
    await expect(found()).rejects.toMatchObject({ message: expect.stringMatching(message) as string });
  });

  it('is not called empty: a folder', async () => {
    jest.spyOn(files, 'readdir').mockRejectedValue(forbidden());
    for (const open of [() => findCheckpoint(run), found])
      await expect(open()).rejects.toMatchObject({
        code: 'ERR_CHECKPOINT',
        message: `'${run}' can't be read: EACCES: permission denied; let this user read it`,
      });
  });
});
