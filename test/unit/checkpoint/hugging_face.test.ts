import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import { readSafetensors, writeSafetensors } from '../../../lib/checkpoint/safetensors';
import { tokenSettings } from '../../../lib/models/families';
import type { Model } from '../../../lib/models/model';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';

const FIXTURES = path.resolve(__dirname, '../../fixtures/gpt2');
/** Made by transformers; see test/fixtures/make_gpt2_checkpoints.py. */
const expected = JSON.parse(readFileSync(path.join(FIXTURES, 'logits.json'), 'utf8')) as {
  tokens: number[][];
  checkpoints: Record<string, { logits: number[]; float32_deviation: number }>;
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tesserae-hugging-face-'));
});
const loaded: Model[] = [];
afterEach(() => {
  for (const model of loaded.splice(0)) model.dispose();
  rmSync(folder, { recursive: true });
});

const at = (...names: string[]): string => path.join(folder, ...names);

async function load(directory: string): Promise<Model> {
  const { model } = await loadModel(directory, { device: 'cpu', threads: 1 });
  loaded.push(model);
  return model;
}

/** A copy of a fixture that may be changed. */
function copyOf(name: string): string {
  cpSync(path.join(FIXTURES, name), at('copy'), { recursive: true });
  return at('copy');
}

function editJson(file: string, change: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  change(json);
  writeFileSync(file, JSON.stringify(json));
}

const logits = async (model: Model): Promise<number[]> => [...(await model.logits(expected.tokens)).data];

/** Largest difference, relative to the largest logit. */
function distance(actual: readonly number[], wanted: readonly number[]): number {
  expect(actual.length).toBe(wanted.length);
  const largest = Math.max(...wanted.map(Math.abs));
  return Math.max(...actual.map((value, i) => Math.abs(value - wanted[i]!))) / largest;
}

describe('checkpoints that transformers wrote', () => {
  const names = Object.keys(expected.checkpoints);

  it.each(names)("give the logits that transformers' GPT-2 gives: %s", async (name) => {
    const model = await load(path.join(FIXTURES, name));
    const { logits: wanted, float32_deviation } = expected.checkpoints[name]!;
    // Two orders of summation in single precision: each is about float32_deviation (1e-7 to 1e-6) from the exact value.
    expect(float32_deviation).toBeLessThan(2e-6);
    expect(distance(await logits(model), wanted)).toBeLessThan(1e-5);
  });

  it.each(names)('keep their logits bit by bit when they are saved and loaded again: %s', async (name) => {
    const model = await load(path.join(FIXTURES, name));
    await saveModel(model, at('saved'));
    expect(await logits(await load(at('saved')))).toEqual(await logits(model));
  });

  it('are saved with the names, shapes and values that transformers gave them', async () => {
    await saveModel(await load(path.join(FIXTURES, 'lm')), at('saved'));
    const [theirs, ours] = await Promise.all(
      [path.join(FIXTURES, 'lm'), at('saved')].map((one) =>
        readSafetensors(path.join(one, 'model.safetensors')),
      ),
    );
    expect([...ours!.tensors.keys()].sort()).toEqual([...theirs!.tensors.keys()].sort());
    for (const [name, { shape }] of theirs!.tensors) {
      expect(ours!.tensors.get(name)?.shape).toEqual(shape);
      expect(await ours!.readFloat32(name)).toEqual(await theirs!.readFloat32(name));
    }
    await theirs!.close();
    await ours!.close();
  });
});

/** The weights of a checkpoint, by their names there. */
async function weightsOf(
  directory: string,
): Promise<Map<string, { shape: readonly number[]; data: Float32Array }>> {
  const file = await readSafetensors(path.join(directory, 'model.safetensors'));
  const entries = [...file.tensors].map(
    async ([name, { shape }]) => [name, { shape, data: await file.readFloat32(name) }] as const,
  );
  const weights = new Map(await Promise.all(entries));
  await file.close();
  return weights;
}

async function setWeights(directory: string, weights: Awaited<ReturnType<typeof weightsOf>>): Promise<void> {
  const file = path.join(directory, 'model.safetensors');
  rmSync(file);
  const sources = [...weights].map(([name, { shape, data }]) => ({ name, shape, read: async () => data }));
  await writeSafetensors(file, sources);
}

describe('variants that transformers computes', () => {
  it('scale_attn_by_inverse_layer_idx divides the scores of the second block by 2', async () => {
    const directory = copyOf('lm');
    const config = path.join(directory, 'config.json');
    editJson(config, (json) => void (json['scale_attn_by_inverse_layer_idx'] = true));
    const scaled = await logits(await load(directory));
    expect(scaled).not.toEqual(await logits(await load(path.join(FIXTURES, 'lm'))));
    // Scores are products of queries and keys: half of the queries gives half of them, exactly.
    editJson(config, (json) => void (json['scale_attn_by_inverse_layer_idx'] = false));
    const weights = await weightsOf(directory);
    for (const name of ['weight', 'bias']) {
      const { shape, data } = weights.get(`transformer.h.1.attn.c_attn.${name}`)!;
      const columns = shape.at(-1)!;
      data.forEach((value, i) => {
        if (i % columns < columns / 3) data[i] = value / 2;
      });
    }
    await setWeights(directory, weights);
    expect(await logits(await load(directory))).toEqual(scaled);
  });

  it('scale_attn_weights false leaves the scores as they are', async () => {
    const directory = copyOf('lm');
    const config = path.join(directory, 'config.json');
    editJson(config, (json) => void (json['scale_attn_weights'] = false));
    const unscaled = await logits(await load(directory));
    editJson(config, (json) => void (json['scale_attn_weights'] = true));
    const weights = await weightsOf(directory);
    for (const name of ['weight', 'bias']) {
      const { shape, data } = weights.get(`transformer.h.0.attn.c_attn.${name}`)!;
      const other = weights.get(`transformer.h.1.attn.c_attn.${name}`)!.data;
      const columns = shape.at(-1)!;
      for (const values of [data, other])
        values.forEach((value, i) => {
          if (i % columns < columns / 3) values[i] = value * Math.sqrt(8); // the fixture's headDim
        });
    }
    await setWeights(directory, weights);
    expect(distance(await logits(await load(directory)), unscaled)).toBeLessThan(1e-5);
  });

  it.each(['score.weight', 'classifier.bias', 'qa_outputs.weight', 'multiple_choice_head.summary.weight'])(
    'another head, %s, is left out',
    async (name) => {
      const directory = copyOf('lm');
      const weights = await weightsOf(directory);
      await setWeights(directory, weights.set(name, { shape: [2], data: Float32Array.of(1, 2) }));
      expect(await logits(await load(directory))).toEqual(
        await logits(await load(path.join(FIXTURES, 'lm'))),
      );
    },
  );
});

it.each(['base', 'sharded', 'untied', 'bf16'])(
  'fine-tuning from %s learns, saves and continues',
  async (name) => {
    const model = await load(path.join(FIXTURES, name));
    const { vocabSize } = tokenSettings(model.config)!;
    // The same rows each time: token t + 1 follows token t.
    const rows = [0, 5].map((start) => Array.from({ length: 9 }, (_, i) => (start + i) % vocabSize));
    const trainer = new Trainer(model, {
      arguments: { maxSteps: 20, batchSize: 2, learningRate: 1e-2, loggingSteps: 1, outputDir: at('run') },
      train: { blockSize: 9, batch: async () => ({ tokens: rows }), async *evaluationBatches() {} },
    });
    const losses: number[] = [];
    for await (const event of trainer) if (event.type === 'step') losses.push(event.loss);
    // A random checkpoint knows nothing of these rows; twenty steps on two of them learn most of them.
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);
    const again = await load(at('run'));
    expect(await logits(again)).toEqual(await logits(model));
  },
);

describe("checkpoints of transformers that can't be loaded", () => {
  it.each<[string, (directory: string) => void, string, RegExp]>([
    [
      'weights in a pickle',
      (directory) => {
        rmSync(path.join(directory, 'model.safetensors'));
        writeFileSync(path.join(directory, 'pytorch_model.bin'), '');
      },
      'ERR_CHECKPOINT',
      /weights in 'pytorch_model.bin', but tesserae reads only safetensors.*GPT2LMHeadModel.*save_pretrained/,
    ],
    [
      'a variant that computes something else',
      (directory) =>
        editJson(path.join(directory, 'config.json'), (json) => {
          json['add_cross_attention'] = true;
        }),
      'ERR_CONFIG',
      /config.json': add_cross_attention is true: /,
    ],
    [
      'an activation that there is not',
      (directory) =>
        editJson(path.join(directory, 'config.json'), (json) => {
          json['activation_function'] = 'quick_gelu';
        }),
      'ERR_CONFIG',
      /config.json': activation_function must be one of 'gelu', .* not 'quick_gelu'/,
    ],
    [
      'an untied model without a head',
      (directory) =>
        editJson(path.join(directory, 'config.json'), (json) => {
          json['tie_word_embeddings'] = false;
        }),
      'ERR_CHECKPOINT',
      /it lacks 'lm_head.weight'/,
    ],
    [
      'fewer blocks than there are weights for',
      (directory) =>
        editJson(path.join(directory, 'config.json'), (json) => {
          json['n_layer'] = 1;
        }),
      'ERR_CHECKPOINT',
      /has 'transformer.h.1.[\w.]+', which the model does not have/,
    ],
    [
      'sizes that would take terabytes',
      (directory) =>
        editJson(path.join(directory, 'config.json'), (json) => {
          Object.assign(json, { n_embd: 65536, n_head: 1024, vocab_size: 2 ** 24 });
        }),
      'ERR_CHECKPOINT',
      /'transformer.wte.weight' is \[37, 16\], not \[16777216, 65536\]/,
    ],
  ])('%s', async (_, damage, code, message) => {
    const directory = copyOf('lm');
    damage(directory);
    expect((await failureOf(code as 'ERR_CONFIG', () => load(directory))).message).toMatch(message);
  });

  it('a tied head that is another than the embedding', async () => {
    const directory = copyOf('untied');
    editJson(path.join(directory, 'config.json'), (json) => {
      json['tie_word_embeddings'] = true;
    });
    const { message } = await failureOf('ERR_CHECKPOINT', () => load(directory));
    expect(message).toMatch(/'lm_head.weight' differs from the token embedding.*set it to false/);
  });

  it('one weight by two names', async () => {
    const directory = copyOf('base');
    const name = path.join(directory, 'model.safetensors');
    const file = await readSafetensors(name);
    const entries = await Promise.all(
      Array.from(file.tensors, async ([key, { shape }]) => {
        const values = await file.readFloat32(key);
        return { name: key, shape, read: async () => values };
      }),
    );
    await file.close();
    rmSync(name);
    const twice = entries
      .filter((entry) => entry.name === 'ln_f.bias')
      .map((entry) => ({ ...entry, name: 'transformer.ln_f.bias' }));
    await writeSafetensors(name, [...entries, ...twice]);
    expect((await failureOf('ERR_CHECKPOINT', () => load(directory))).message).toMatch(
      /which are names of one weight/,
    );
  });
});

describe('an index of shards', () => {
  const INDEX = 'model.safetensors.index.json';
  const SHARD = 'model-00001-of-00003.safetensors';
  type Places = Record<string, unknown>;

  it('is in a fixture', () => {
    expect(existsSync(path.join(FIXTURES, 'sharded', INDEX))).toBe(true);
    expect(existsSync(path.join(FIXTURES, 'sharded', 'model.safetensors'))).toBe(false);
  });

  it.each<[string, RegExp, (places: Places, directory: string) => void]>([
    ...['../model.safetensors', '/etc/model.safetensors', 'a/b.safetensors', 'config.json', '', '..', 7].map(
      (name): [string, RegExp, (places: Places) => void] => [
        `that names ${JSON.stringify(name)}`,
        /must be in a .safetensors file of the same folder, not in/,
        (places) => {
          places['transformer.ln_f.bias'] = name;
        },
      ],
    ),
    [
      'that names a file that is not there',
      /can't be read: .*ENOENT/,
      (places) => {
        places['transformer.ln_f.bias'] = 'none.safetensors';
      },
    ],
    [
      'that names a tensor that its file lacks',
      /lacks "more"/,
      (places) => {
        places['more'] = places['transformer.ln_f.bias'];
      },
    ],
    [
      'that leaves out a tensor',
      /but the index does not list it there/,
      (places) => {
        delete places['transformer.ln_f.bias'];
      },
    ],
    [
      'with a tensor in two files',
      /but the index does not list it there/,
      (places, directory) => {
        cpSync(path.join(directory, SHARD), path.join(directory, 'again.safetensors'));
        const [tensor] = Object.entries(places).find(([, name]) => name === SHARD)!;
        places[tensor] = 'again.safetensors';
      },
    ],
    [
      'with a shard that was cut off',
      /is truncated/,
      (_, directory) => {
        const shard = path.join(directory, SHARD);
        writeFileSync(shard, readFileSync(shard).subarray(0, -4));
      },
    ],
    [
      'that names nothing',
      /weight_map must be an object/,
      (places) => {
        for (const key of Object.keys(places)) delete places[key];
      },
    ],
    [
      'that names too many files',
      /more than 500 files/,
      (places) => {
        for (let i = 0; i < 501; i++) places[`x${i}`] = `${i}.safetensors`;
      },
    ],
  ])('%s is refused', async (_, message, damage) => {
    const directory = copyOf('sharded');
    editJson(path.join(directory, INDEX), (json) => damage(json['weight_map'] as Places, directory));
    expect((await failureOf('ERR_CHECKPOINT', () => load(directory))).message).toMatch(message);
  });

  it.each([
    '{',
    '[]',
    '{"weight_map":[]}',
    '{"weight_map":{"a":"b","a":"c"}}',
    '['.repeat(1e5),
    `"${' '.repeat(2 ** 24)}"`,
  ])('that is malformed is refused (%#)', async (text) => {
    const directory = copyOf('sharded');
    writeFileSync(path.join(directory, INDEX), text);
    const { message } = await failureOf('ERR_CHECKPOINT', () => load(directory));
    expect(message).toMatch(/index.json' does not fit its folder/);
  });

  it('is ignored if one file has all weights', async () => {
    const directory = copyOf('lm');
    writeFileSync(path.join(directory, INDEX), '{');
    expect((await load(directory)).config).toMatchObject({ vocabSize: 37 });
  });
});
