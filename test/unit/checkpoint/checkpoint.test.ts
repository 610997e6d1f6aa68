import { mkdir, mkdtemp, readdir, readFile, rm, writeFile, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findCheckpoint, loadModel, saveModel, type LoadedModel } from '../../../lib/checkpoint/checkpoint';
import { readSafetensors, writeSafetensors } from '../../../lib/checkpoint/safetensors';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import type { Model } from '../../../lib/models/model';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-checkpoint-'));
});
const loaded: Model[] = [];
afterEach(async () => {
  disposeModels();
  for (const model of loaded.splice(0)) model.dispose();
  await rm(folder, { recursive: true });
});

const at = (...names: string[]): string => path.join(folder, ...names);

async function load(directory: string): Promise<LoadedModel> {
  const result = await loadModel(directory, { device: 'cpu', threads: 1, seed: 99 });
  loaded.push(result.model);
  return result;
}

const logits = async (model: Model): Promise<number[]> => [...(await model.logits([[1, 2, 3, 4]])).data];

type Entry = Parameters<typeof writeSafetensors>[1][number];

/** Writes the tensors of a checkpoint again, each as `change` says. */
async function rewrite(directory: string, change: (entry: Entry) => Entry[]): Promise<void> {
  const name = path.join(directory, 'model.safetensors');
  const file = await readSafetensors(name);
  const entries = await Promise.all(
    Array.from(file.tensors, async ([key, { shape }]) => {
      const values = await file.readFloat32(key);
      return { name: key, shape, read: async () => values };
    }),
  );
  await file.close();
  await rm(name);
  await writeSafetensors(name, entries.flatMap(change));
}

describe('saveModel and loadModel', () => {
  it.each([
    ['a GPT-2', {}],
    ['one with a head of its own', { tieWordEmbeddings: false }],
    ['one with padded widths and fixed positions', { nEmbd: 18, positions: 'sinusoidal' }],
    ['one with the norm after each sum', { normalization: 'post', positions: 'none' }],
  ] as const)('keep the logits of %s bit by bit', async (_, config) => {
    const model = await tinyModel(config);
    await saveModel(model, at('saved'));
    const result = await load(at('saved'));
    expect(await logits(result.model)).toEqual(await logits(model));
    expect(result.model.config).toEqual(model.config);
    expect(result.tokenizer).toBeUndefined();
  });

  it("write Hugging Face's names, layout and configuration", async () => {
    await saveModel(await tinyModel(), at('saved'), { tokenizer: new ByteTokenizer(), step: 7 });
    expect(await readdir(folder)).toEqual(['saved']);
    expect((await readdir(at('saved'))).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
    ]);
    const config = JSON.parse(await readFile(at('saved', 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config).toMatchObject({
      model_type: 'gpt2',
      n_embd: 16,
      tesserae: { version: 1, tokenizer: 'byte', step: 7 },
    });
    const file = await readSafetensors(at('saved', 'model.safetensors'));
    await file.close();
    const shapes = Object.fromEntries(Array.from(file.tensors, ([name, { shape }]) => [name, shape]));
    expect(shapes).toEqual({
      'transformer.h.0.attn.c_attn.bias': [48],
      'transformer.h.0.attn.c_attn.weight': [16, 48],
      'transformer.h.0.attn.c_proj.bias': [16],
      'transformer.h.0.attn.c_proj.weight': [16, 16],
      'transformer.h.0.ln_1.bias': [16],
      'transformer.h.0.ln_1.weight': [16],
      'transformer.h.0.ln_2.bias': [16],
      'transformer.h.0.ln_2.weight': [16],
      'transformer.h.0.mlp.c_fc.bias': [64],
      'transformer.h.0.mlp.c_fc.weight': [16, 64],
      'transformer.h.0.mlp.c_proj.bias': [16],
      'transformer.h.0.mlp.c_proj.weight': [64, 16],
      'transformer.ln_f.bias': [16],
      'transformer.ln_f.weight': [16],
      'transformer.wpe.weight': [16, 16],
      'transformer.wte.weight': [32, 16],
    });
    const result = await load(at('saved'));
    expect(result).toMatchObject({ step: 7, directory: at('saved') });
    expect(result.tokenizer?.name).toBe('byte');
  });

  it.each([
    ['f16', 'F16', 'float16', 2 ** -11, 2 ** -25],
    ['bf16', 'BF16', 'bfloat16', 2 ** -8, 0],
  ] as const)(
    'keep weights within half a unit in the last place of %s',
    async (dtype, stored, torch, ulp, least) => {
      const model = await tinyModel();
      await saveModel(model, at('saved'), { dtype });
      const file = await readSafetensors(at('saved', 'model.safetensors'));
      await file.close();
      for (const { dtype: one, shape, bytes } of file.tensors.values())
        expect([one, bytes]).toEqual([stored, 2 * shape.reduce((a, b) => a * b, 1)]);
      expect(JSON.parse(await readFile(at('saved', 'config.json'), 'utf8'))).toMatchObject({
        torch_dtype: torch,
      });
      const { model: narrow } = await load(at('saved'));
      for (const { name } of model.graph.parameters) {
        const [wide, read] = await Promise.all(
          [model, narrow].map((one) => one.native.readTensor('parameter', name, 'file')),
        );
        // Half an ulp is this share of a value; for a subnormal half it is 2^-25.
        wide?.forEach((value, i) =>
          expect(Math.abs((read?.[i] ?? NaN) - value)).toBeLessThanOrEqual(
            Math.max(Math.abs(value) * ulp, least),
          ),
        );
      }
    },
  );

  it('refuse a weight that f16 can not hold, and leave nothing behind', async () => {
    const model = await tinyModel();
    const name = 'transformer.h.0.ln_1.weight';
    await model.native.writeTensor('parameter', name, new Float32Array(16).fill(1).fill(65520, 3, 4), 'file');
    const { message } = await failureOf('ERR_CHECKPOINT', () =>
      saveModel(model, at('saved'), { dtype: 'f16' }),
    );
    expect(message).toMatch(
      /'transformer\.h\.0\.ln_1\.weight' has 65520 at index 3, which f16 can't hold: write f32 or bf16/,
    );
    expect(await readdir(folder)).toEqual([]);
    const other = 'fp16' as 'f16';
    const wrong = await failureOf('ERR_CONFIG', () => saveModel(model, at('saved'), { dtype: other }));
    expect(wrong.message).toMatch(/dtype must be one of 'f32', 'f16', 'bf16', not 'fp16'/);
  });

  it('replace an earlier checkpoint, and nothing else', async () => {
    const model = await tinyModel();
    await mkdir(at('empty'));
    for (const name of ['saved', 'saved', 'empty', 'deep/er'])
      await saveModel(model, at(...name.split('/')), { step: 1 });
    expect((await readdir(folder)).sort()).toEqual(['deep', 'empty', 'saved']);
    await writeFile(at('saved', 'notes.txt'), 'mine');
    const { message } = await failureOf('ERR_CHECKPOINT', () => saveModel(model, at('saved')));
    expect(message).toMatch(/holds 'notes.txt'/);
    await rm(at('saved', 'notes.txt'));
    await writeFile(at('saved', 'optimizer.safetensors'), 'moments');
    await failureOf('ERR_CHECKPOINT', () => saveModel(model, at('saved')));
    await writeFile(at('file'), '');
    await failureOf('ERR_CHECKPOINT', () => saveModel(model, at('file')));
    expect((await readdir(folder)).sort()).toEqual(['deep', 'empty', 'file', 'saved']);
    await load(at('saved'));
  });

  it("read a base model of Hugging Face's: no prefix, masks, a head that is tied", async () => {
    const model = await tinyModel();
    await saveModel(model, at('saved'));
    await rewrite(at('saved'), (entry) => [
      { ...entry, name: entry.name.replace(/^transformer\./, '') },
      ...(entry.name.endsWith('wte.weight') ? [{ ...entry, name: 'lm_head.weight' }] : []),
      ...(entry.name.endsWith('c_attn.bias')
        ? [
            { ...entry, name: 'h.0.attn.bias' },
            { ...entry, name: 'h.0.attn.masked_bias' },
          ]
        : []),
    ]);
    expect(await logits((await load(at('saved'))).model)).toEqual(await logits(model));
  });

  it('leave fixed positions out of the file', async () => {
    await saveModel(await tinyModel({ positions: 'sinusoidal' }), at('saved'));
    const file = await readSafetensors(at('saved', 'model.safetensors'));
    await file.close();
    expect([...file.tensors.keys()]).not.toContain('transformer.wpe.weight');
  });

  it('leave nothing behind when saving fails', async () => {
    const model = await tinyModel();
    model.dispose();
    await failureOf('ERR_DISPOSED', () => saveModel(model, at('saved')));
    expect(await readdir(folder)).toEqual([]);
  });

  it('take the checkpoint of a run that was written last', async () => {
    const model = await tinyModel();
    for (const step of [9, 1000, 200]) {
      await saveModel(model, at(`checkpoint-${step}`), { step });
      // A shorter run into the same folder; the clock of files is coarse.
      const written = new Date(Date.UTC(2026, 0, 1, 0, 0, step === 200 ? 2 : 1));
      await utimes(at(`checkpoint-${step}/model.safetensors`), written, written);
    }
    await mkdir(at('checkpoint-5000'));
    expect(await findCheckpoint(folder)).toBe(at('checkpoint-200'));
    expect((await load(folder)).step).toBe(200);
    await failureOf('ERR_CHECKPOINT', () => findCheckpoint(at('checkpoint-5000')));
    await failureOf('ERR_CHECKPOINT', () => findCheckpoint(at('none')));
  });

  it("say with a code that a folder can't be made", async () => {
    const model = await tinyModel();
    await failureOf('ERR_CHECKPOINT', () => saveModel(model, '/dev/null/checkpoint'));
  });

  const damages: [string, RegExp, (directory: string) => Promise<void>][] = [
    [
      'a weight that is missing',
      /lacks 'transformer.ln_f.bias'/,
      (directory) => rewrite(directory, (entry) => (entry.name === 'transformer.ln_f.bias' ? [] : [entry])),
    ],
    [
      'a weight too many',
      /has 'extra', which the model does not have/,
      (directory) =>
        rewrite(directory, (entry) =>
          entry.name === 'transformer.ln_f.bias' ? [entry, { ...entry, name: 'extra' }] : [entry],
        ),
    ],
    [
      'a weight of another shape',
      /is \[32\], not \[16\]/,
      (directory) =>
        rewrite(directory, (entry) => [
          entry.name === 'transformer.ln_f.bias'
            ? { ...entry, shape: [32], read: async () => new Float32Array(32) }
            : entry,
        ]),
    ],
    [
      'weights that were cut off',
      /is truncated/,
      async (directory) => {
        const name = path.join(directory, 'model.safetensors');
        await writeFile(name, (await readFile(name)).subarray(0, -4));
      },
    ],
    [
      'a configuration that is not JSON',
      /config.json' can't be read/,
      (directory) => writeFile(path.join(directory, 'config.json'), '{'),
    ],
    [
      'a later version',
      /version 2/,
      async (directory) => {
        const name = path.join(directory, 'config.json');
        await writeFile(name, (await readFile(name, 'utf8')).replace('"version": 1', '"version": 2'));
      },
    ],
    [
      'an unknown tokenizer',
      /needs the tokenizer 'bite'/,
      async (directory) => {
        const name = path.join(directory, 'config.json');
        await writeFile(name, (await readFile(name, 'utf8')).replace('"byte"', '"bite"'));
      },
    ],
  ];
  it.each(damages)('refuse %s', async (_, message, damage) => {
    await saveModel(await tinyModel(), at('saved'), { tokenizer: new ByteTokenizer() });
    await damage(at('saved'));
    expect((await failureOf('ERR_CHECKPOINT', () => load(at('saved')))).message).toMatch(message);
  });
});
