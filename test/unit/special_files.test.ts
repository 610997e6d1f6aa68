/** Special files in place of regular ones: no call blocks on them, and each fails with a code and says what they are. */
import { execFileSync } from 'node:child_process';
import { cp, lstat, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as api from '../../lib';
import { readRunConfig } from '../../lib/cli/config';
import { prepareTokens } from '../../lib/data/prepare/prepare';
import {
  NotAFileError,
  openFile,
  openFileSync,
  openFileToWrite,
  readTextFile,
  writeTextFile,
} from '../../lib/files/regular_file';
import { countingDataset, disposeModels, tinyModel } from './support/tiny_model';

const KINDS = ['pipe', 'socket', 'device', 'folder', 'loop'] as const;
type Kind = (typeof KINDS)[number];

let folder: string;
let socket: Server;
let run: string;
const at = (...names: string[]): string => path.join(folder, ...names);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'special-'));
  execFileSync('mkfifo', [at('pipe')]);
  socket = createServer().listen(at('socket'));
  await symlink('/dev/zero', at('device'));
  await mkdir(at('folder'));
  await symlink('loop', at('loop'));
  run = at('run');
  const model = await tinyModel({ vocabSize: 256 });
  const trainer = new api.Trainer(model, {
    arguments: { maxSteps: 1, batchSize: 1, outputDir: run, saveSteps: 1 },
    train: countingDataset(),
  });
  await trainer.train();
});
afterAll(async () => {
  disposeModels();
  socket.close();
  await rm(folder, { recursive: true });
});

/** Replaces a file by a link to something special. */
async function put(kind: Kind, file: string): Promise<void> {
  await rm(file, { recursive: true, force: true });
  await symlink(at(kind), file);
}

describe.each(KINDS)('in place of a file: a %s', (kind) => {
  const words = {
    pipe: /a named pipe, not a file/,
    socket: /a socket, not a file/,
    device: /a device, not a file/,
    folder: /a folder|folder\/train\.bin' does not exist/,
    loop: /ELOOP/,
  }[kind];

  test('the helpers refuse it', async () => {
    const file = at(kind);
    for (const call of [
      () => openFile(file),
      () => openFileToWrite(file, 'w'),
      () => openFileToWrite(file, 'a'),
      () => readTextFile(file, 9),
      () => writeTextFile(file, ''),
      async () => openFileSync(file),
    ]) {
      const error: unknown = await call().catch((failure: unknown) => failure);
      if (kind !== 'loop') expect(error).toBeInstanceOf(NotAFileError);
      expect((error as Error).message).toMatch(words);
    }
  });

  test.each<[name: string, code: string, call: (file: string) => Promise<unknown>]>([
    ['openText', 'ERR_DATA', (file) => api.openText(file, { blockSize: 4 })],
    ['openTokens', 'ERR_DATA', (file) => api.openTokens(file, { blockSize: 4, vocabSize: 9 })],
    [
      'openTokens, validation',
      'ERR_DATA',
      async (file) => {
        await writeFile(at('ids.bin'), new Uint16Array(200));
        return api.openTokens(at('ids.bin'), { blockSize: 4, vocabSize: 9, validation: file });
      },
    ],
    [
      'openTokens, the JSON file beside',
      'ERR_DATA',
      async (file) => {
        await writeFile(at('described.bin'), new Uint16Array(200));
        await put(path.basename(file) as Kind, at('described.json'));
        return api.openTokens(at('described.bin'), { blockSize: 4, vocabSize: 9 });
      },
    ],
    ['openSequences', 'ERR_DATA', (file) => api.openSequences(file, { blockSize: 4, vocabSize: 9 })],
    ['JsonTokenizer.fromFile', 'ERR_DATA', (file) => api.JsonTokenizer.fromFile(file)],
    ['readMetrics', 'ERR_DATA', (file) => api.readMetrics(file)],
    ['readRunConfig', 'ERR_CONFIG', (file) => readRunConfig(file)],
    ['MetricsFile.create', 'ERR_CONFIG', (file) => api.MetricsFile.create(file)],
    [
      'MetricsFile.resume',
      'ERR_CONFIG',
      async (file) => {
        // The file itself: a link would be replaced.
        const there = at('metrics.jsonl');
        await put(path.basename(file) as Kind, there);
        return api.MetricsFile.resume(there, 1);
      },
    ],
  ])('%s refuses it', async (_, code, call) => {
    const error: unknown = await call(at(kind)).then(
      () => 'accepted',
      (failure: unknown) => failure,
    );
    expect(error).toBeInstanceOf(api.TesseraeError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(words) as string });
  });

  test('prepare refuses it as a text, a file of a folder is left out, as tokenizer.json it is refused', async () => {
    const options = { validationFraction: 0, format: 'nanogpt', textKey: 'text', inputNames: [''] } as const;
    const made = at(`made-${kind}`);
    await mkdir(made);
    const prepare = (inputs: string[], tokenizer: string): Promise<unknown> =>
      prepareTokens(made, { ...options, inputs, tokenizer, onProgress: () => undefined });
    if (kind !== 'folder')
      await expect(prepare([at(kind)], 'byte')).rejects.toMatchObject({ code: 'ERR_DATA' });
    const texts = at(`texts-${kind}`);
    await mkdir(texts);
    await put(kind, path.join(texts, 'a.txt'));
    await expect(prepare([texts], 'byte')).rejects.toMatchObject({ code: 'ERR_DATA' });
    await writeFile(at('text.txt'), 'the cat');
    await expect(prepare([at('text.txt')], at(kind))).rejects.toMatchObject({ code: 'ERR_DATA' });
    expect(await readdir(made)).toEqual([]);
  });

  test('each file of a checkpoint is refused', async () => {
    const copy = at(`run-${kind}`);
    const checkpoint = path.join(copy, 'checkpoint-1');
    const model = await tinyModel({ vocabSize: 256 });
    for (const name of await readdir(path.join(run, 'checkpoint-1'))) {
      await rm(copy, { recursive: true, force: true });
      await cp(run, copy, { recursive: true });
      await put(kind, path.join(checkpoint, name));
      const load = (): Promise<unknown> => api.loadModel(checkpoint, { device: 'cpu' });
      const resume = (): Promise<unknown> =>
        new api.Trainer(model, { arguments: { maxSteps: 2 }, train: countingDataset() }).resume(copy);
      await expect(resume()).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' });
      const { damaged } = (await api.listCheckpoints(copy))[0] ?? {};
      expect(damaged).toMatchObject({ code: 'ERR_CHECKPOINT' });
      if (['config.json', 'model.safetensors'].includes(name))
        await expect(load()).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' });
      // Without a manifest, sizes say nothing.
      await rm(path.join(checkpoint, 'manifest.json'));
      if (['config.json', 'model.safetensors'].includes(name))
        await expect(load()).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' });
    }
  });

  test('a manifest that has it with no bytes does not vouch for it', async () => {
    const checkpoint = at(`empty-${kind}`);
    await cp(path.join(run, 'checkpoint-1'), checkpoint, { recursive: true });
    const manifest = path.join(checkpoint, 'manifest.json');
    const contents = JSON.parse(await readTextFile(manifest, 1e6)) as {
      files: Record<string, { bytes: number }>;
    };
    for (const file of Object.values(contents.files)) file.bytes = 0;
    await writeFile(manifest, JSON.stringify(contents));
    await put(kind, path.join(checkpoint, 'config.json'));
    await expect(api.loadModel(checkpoint, { device: 'cpu' })).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
    });
  });

  test('a run puts its loss curve in the place of a link to it', async () => {
    const directory = at(`report-${kind}`);
    const report = await api.RunReport.create({ directory, maxSteps: 1, progress: false });
    await put(kind, report.lossCurvePath);
    await report.close();
    expect(await readTextFile(report.lossCurvePath, 1e6)).toMatch(/^<svg/);
    expect((await lstat(report.lossCurvePath)).isFile()).toBe(true);
  });
});

test('a file of /proc, whose size is said to be 0, is read as far as it may be', async () => {
  expect(await readTextFile('/proc/self/status', 2 ** 20)).toMatch(/^Name:/);
  await expect(readTextFile('/proc/self/status', 10)).rejects.toThrow(/more than the limit of 10/);
});

test('a link to a file is read', async () => {
  await writeFile(at('real.txt'), 'the cat sat on the mat. '.repeat(9));
  await symlink('real.txt', at('link.txt'));
  const data = await api.openText(at('link.txt'), { blockSize: 4 });
  expect(data.sizes.train).toBeGreaterThan(4);
  await data.close();
});
