import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import { readSafetensors } from '../../../lib/checkpoint/safetensors';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { tesserae } from '../support/command_line';
import { disposeModels, tinyModel } from '../support/tiny_model';
import { tinyTokenizer } from '../support/tokenizer';

const tokenizer = new JsonTokenizer(JSON.stringify(tinyTokenizer()));
const trainingStarts = { firstTokens: 'any', promptTokens: { least: 1, most: 2 } } as const;
let folder: string;
const at = (...names: string[]): string => path.join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'export-'));
  const model = await tinyModel({ vocabSize: tokenizer.vocabSize });
  await saveModel(model, at('model'), { tokenizer, step: 7, trainingStarts });
  await saveModel(await tinyModel({ nTypes: 2 }), at('own'));
  disposeModels();
});
afterAll(() => rm(folder, { recursive: true }));

it.each(['f32', 'f16', 'bf16'])('writes a folder that transformers and we load, in %s', async (dtype) => {
  const { code, out, err } = await tesserae('export', at('model'), at(dtype), '--dtype', dtype, '--json');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(JSON.parse(out)).toEqual({
    ...{ type: 'export', checkpoint: at('model'), weights: 'trained', folder: at(dtype), dtype },
  });
  expect((await readdir(at(dtype))).sort()).toEqual([
    ...[
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ],
  ]);
  const file = await readSafetensors(at(dtype, 'model.safetensors'));
  await file.close();
  expect([...file.metadata]).toEqual([['format', 'pt']]);
  for (const [name, tensor] of file.tensors) {
    expect(name).toMatch(/^transformer\.(wte|wpe|ln_f|h\.0)\./);
    expect(tensor.dtype).toBe(dtype.toUpperCase());
  }
  const loaded = await loadModel(at(dtype), { device: 'cpu' });
  using _model = loaded.model;
  expect(loaded).toMatchObject({ step: 7, trainingStarts });
  expect(loaded.tokenizer?.json).toBe(tokenizer.json);
});

it('f32 keeps every byte of the weights', async () => {
  await tesserae('export', at('model'), at('same'));
  const bytes = (name: string): Promise<Buffer> => readFile(at(name, 'model.safetensors'));
  expect((await bytes('same')).equals(await bytes('model'))).toBe(true);
});

it('replaces an export, and nothing else', async () => {
  expect((await tesserae('export', at('model'), at('again'))).code).toBe(0);
  expect((await tesserae('export', at('model'), at('again'))).out).toMatch(/written +.*again, f32\n$/);
  await writeFile(at('again', 'optimizer.safetensors'), 'moments');
  const { code, err } = await tesserae('export', at('model'), at('again'));
  expect({ code, err }).toEqual({
    code: 1,
    err: expect.stringMatching(/ERR_CHECKPOINT: .*is not replaced.*holds 'optimizer\.safetensors'/) as string,
  });
});

it.each<[string, () => string[], RegExp]>([
  ['the checkpoint itself', () => ['model', 'model'], /ERR_CONFIG: .* is the checkpoint itself/],
  [
    'a model that transformers has not',
    () => ['own', 'x'],
    /ERR_CONFIG: transformers has no model with nTypes 2/,
  ],
  [
    'weights that are not there',
    () => ['model', 'x', '--weights', 'ema'],
    /ERR_CHECKPOINT: .*without emaDecay/,
  ],
  ['no checkpoint', () => ['nothing', 'x'], /ERR_CHECKPOINT: .*holds no checkpoint/],
])('refuses %s', async (_what, args, message) => {
  const [from = '', to = '', ...rest] = args();
  const { code, out, err } = await tesserae('export', at(from), at(to), ...rest);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).toMatch(message);
  expect(await readdir(folder)).not.toContain('x');
});
