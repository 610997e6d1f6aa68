import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readRunConfig, readTrainableRun } from '../../../lib/cli/config';
import { readJson } from '../../../lib/cli/json_file';
import { configSchema } from '../../../lib/cli/write_schema';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'config-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes a file into the test's folder; returns its path. */
async function file(content: unknown, name = 'run.json'): Promise<string> {
  const at = path.join(folder, name);
  await writeFile(at, typeof content === 'string' ? content : JSON.stringify(content));
  return at;
}

const model = { type: 'gpt2', nEmbd: 32, nHead: 4, nLayer: 2, nPositions: 16 };
const run = { model, data: { text: 'book.txt' }, training: { maxSteps: 10 } };

describe('readJson', () => {
  it('reads a file, with or without a byte order mark', async () => {
    expect(await readJson(await file('\uFEFF{"a": [1, 2.5e3, "x\\n", null]}'))).toEqual({
      a: [1, 2500, 'x\n', null],
    });
  });

  it.each<[string, string, string]>([
    [
      'a comma too many',
      '{\n  "a": 1,\n}',
      ":3:1: expected a name in double quotes (no ',' after the last one), found '}'",
    ],
    [
      'a comma too many in an array',
      '[1, 2, ]',
      ":1:8: expected a value (no ',' after the last one), found ']'",
    ],
    ['a missing comma', '{\n  "a": 1\n  "b": 2\n}', ":3:3: expected ',' or '}', found text"],
    ['a bare word', '{"a": yes}', ":1:7: expected a value, found 'yes'"],
    ['a name without quotes', '{a: 1}', ":1:2: expected a name in double quotes or '}', found 'a'"],
    ['single quotes', "{'a': 1}", `:1:2: expected a name in double quotes or '}', found '''`],
    ['a comment', '{\n  // no\n}', ":2:3: expected a name in double quotes or '}', found a comment"],
    ['the end', '{"a": [1', ":1:9: expected ',' or ']', found the end of the file"],
    ['an empty file', '', ':1:1: expected a value, found the end of the file'],
    ['text that does not end', '{"a": "b\n}', ':1:7: expected a value, found text that does not end'],
    ['something after the end', '{} {}', ":1:4: expected nothing more, found '{'"],
    ['a missing colon', '{"a" 1}', ":1:6: expected ':', found '1'"],
    ['a name that is there twice', '{"a": 1,\n "b": {}, "a": 2}', ':2:11: the key "a" occurs twice'],
    ['an integer that would be rounded', '{"a": 9007199254740993}', ':1:7: the number 9007199254740993 is'],
    ['a number that is none', '{"a": 01}', ":1:8: expected ',' or '}', found '1'"],
  ])('points at %s', async (_what, text, message) => {
    const at = await file(text);
    await expect(readJson(at)).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: expect.stringContaining(`${at}${message}`) as string,
    });
  });

  it('does not break on deep nesting', async () => {
    await expect(readJson(await file('['.repeat(200_000)))).rejects.toMatchObject({ code: 'ERR_CONFIG' });
  });

  it('says what is wrong with the file itself', async () => {
    await expect(readJson(path.join(folder, 'none.json'))).rejects.toThrow('the file does not exist');
    await expect(readJson(folder)).rejects.toThrow('it is a folder');
  });
});

describe('readRunConfig', () => {
  it('makes paths relative to the file', async () => {
    const at = await file({ ...run, training: { maxSteps: 10, outputDir: 'out' } });
    const { data, training } = await readRunConfig(at);
    expect(data).toEqual({ text: [path.join(folder, 'book.txt')] });
    expect(training?.outputDir).toBe(path.join(folder, 'out'));
  });

  it('gives a model of text the vocabulary of bytes, unless it has one', async () => {
    expect(await readRunConfig(await file(run))).toMatchObject({ model: { vocabSize: 256 } });
    expect(await readRunConfig(await file({ model }))).toMatchObject({ model: { vocabSize: 50257 } });
    const own = { ...run, model: { ...model, vocabSize: 300 } };
    expect(await readRunConfig(await file(own))).toMatchObject({ model: { vocabSize: 300 } });
  });

  it('reads the model from the checkpoint of initFrom', async () => {
    await mkdir(path.join(folder, 'pretrained'));
    await file({ vocab_size: 256, n_embd: 32, n_head: 4 }, 'pretrained/config.json');
    const at = await file({ ...run, model: undefined, initFrom: 'pretrained' });
    const missing = {
      code: 'ERR_CHECKPOINT',
      message: expect.stringContaining('holds no checkpoint') as string,
    };
    await expect(readRunConfig(at)).rejects.toMatchObject(missing);
    await file('', 'pretrained/model.safetensors');
    const { model: found, initFrom } = await readRunConfig(at);
    expect(found).toMatchObject({ type: 'gpt2', vocabSize: 256, nEmbd: 32, nLayer: 12 });
    expect(initFrom).toBe(path.join(folder, 'pretrained'));
  });

  it('gives a model of token files the vocabulary that describes them', async () => {
    const tokens = (data: object): Promise<string> => file({ ...run, data });
    await mkdir(path.join(folder, 'made'));
    const about = {
      version: 1,
      format: 'nanogpt',
      dtype: 'uint16',
      vocabSize: 270,
      tokens: 0,
      sha256: '0'.repeat(64),
    };
    await file(about, 'made/train.json');
    const { model: own, data } = await readRunConfig(await tokens({ tokens: 'made', verify: true }));
    expect(own).toMatchObject({ vocabSize: 270 });
    expect(data).toEqual({ tokens: [path.join(folder, 'made')], verify: true });
    const bare = { tokens: ['a.bin', 'b.bin'], validation: 'c.bin', dtype: 'uint32', tokenizer: 'byte' };
    expect(await readRunConfig(await tokens(bare))).toMatchObject({
      model: { vocabSize: 256 },
      data: { tokens: ['a.bin', 'b.bin'].map((name) => path.join(folder, name)), tokenizer: 'byte' },
    });
    await expect(readRunConfig(await tokens({ tokens: 'a.bin' }))).rejects.toMatchObject({
      code: 'ERR_DATA',
      message: expect.stringContaining("a.bin' does not exist") as string,
    });
    await file('', 'a.bin');
    await expect(readRunConfig(await tokens({ tokens: 'a.bin' }))).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: expect.stringContaining('model.vocabSize is missing, and the token file') as string,
    });
  });

  it('lets the command line have the last word', async () => {
    const { training } = await readRunConfig(await file(run), { maxSteps: 3, learningRate: 0.5 });
    expect(training).toMatchObject({ maxSteps: 3, learningRate: 0.5 });
  });

  it.each<[string, object, string, string]>([
    [
      'a misspelt section',
      { ...run, trainings: {} },
      'trainings is unknown: did you mean training?',
      'trainings',
    ],
    [
      'a misspelt setting',
      { ...run, training: { maxSteps: 1, learningrate: 1 } },
      'training.learningrate is unknown: did you mean learningRate?',
      'training.learningrate',
    ],
    [
      "another library's name",
      { ...run, training: { maxSteps: 1, lr: 1 } },
      'training.lr is unknown: did you mean learningRate?',
      'training.lr',
    ],
    [
      "Hugging Face's spelling",
      { ...run, model: { ...model, n_layer: 1 } },
      'model.n_layer is unknown: did you mean nLayer?',
      'model.n_layer',
    ],
    ['no model', { data: run.data }, 'model is missing: add its settings, or', 'model'],
    ['a model and a checkpoint', { ...run, initFrom: '.' }, 'both model and initFrom are given', 'model'],
    [
      "another library's name of a checkpoint",
      { pretrained: '.' },
      'pretrained is unknown: did you mean initFrom?',
      'pretrained',
    ],
    ['no type', { model: {} }, "model.type is missing: it must be 'gpt2'", 'model.type'],
    ['an unknown type', { model: { type: 'gtp2' } }, "model.type must be 'gpt2', not 'gtp2'", 'model.type'],
    [
      'a wrong kind',
      { ...run, data: { text: 5 } },
      'data.text must be text that is not empty or an array of text that is not empty, not 5',
      'data.text',
    ],
    ['no files', { ...run, data: {} }, 'data must have exactly one of text, tokens and sequences', 'data'],
    [
      'both kinds of files',
      { ...run, data: { text: 'a.txt', tokens: 'a.bin' } },
      'data must have exactly one of text, tokens and sequences',
      'data',
    ],
    [
      'a setting of token files for text',
      { ...run, data: { text: 'a.txt', dtype: 'uint16' } },
      'data.dtype only applies to token files: remove it, because the data is text',
      'data.dtype',
    ],
    [
      'a step too few',
      { ...run, training: { maxSteps: 0 } },
      'training.maxSteps must be an integer from 1',
      'training.maxSteps',
    ],
    [
      'a scheduler that is none',
      { ...run, training: { maxSteps: 1, lrScheduler: 'cosin' } },
      "training.lrScheduler must be one of 'cosine', 'linear', 'constant', 'cosineWithRestarts', 'polynomial', 'inverseSqrt', " +
        "'oneCycle', 'warmupStableDecay', not 'cosin': did you mean 'cosine'?",
      'training.lrScheduler',
    ],
    [
      'heads that do not divide',
      { model: { ...model, nHead: 5 } },
      'model.nEmbd 32 is not a multiple',
      'model.nEmbd',
    ],
    ['an array', [], 'the configuration must be an object', ''],
  ])('refuses %s', async (_what, content, message, at) => {
    const name = await file(content);
    await expect(readRunConfig(name)).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: expect.stringContaining(`${name}: ${message}`) as string,
      details: expect.objectContaining({ path: at, file: name }) as object,
    });
  });
});

describe("other libraries' names", () => {
  const schedule = (kwargs: object): object => ({ training: { maxSteps: 1, lrSchedulerKwargs: kwargs } });
  it.each<[string, object, string]>([
    ['dataset', { dataset: {} }, 'data'],
    ['model.hiddenSize', { model: { ...model, hiddenSize: 8 } }, 'nEmbd'],
    ['data.valFraction', { data: { text: 'a', valFraction: 0.2 } }, 'validationFraction'],
    ['data.truncate', { data: { sequences: 'a', truncate: true } }, 'truncation'],
    ['training.optimizer', { training: { maxSteps: 1, optimizer: 'sgd' } }, 'optim'],
    ['training.lrSchedulerKwargs.cycles', schedule({ cycles: 2 }), 'numCycles'],
    ['training.lrSchedulerKwargs.decay_steps', schedule({ decay_steps: 2 }), 'numDecaySteps'],
    [
      'training.earlyStopping.threshold',
      { training: { maxSteps: 1, earlyStopping: { threshold: 1 } } },
      'minDelta',
    ],
    [
      'training.parameterGroups[0].requires_grad',
      { training: { maxSteps: 1, parameterGroups: [{ match: '*', requires_grad: false }] } },
      'trainable',
    ],
    [
      'training.lossScaling.lossScaleWindow',
      { training: { maxSteps: 1, lossScaling: { lossScaleWindow: 2 } } },
      'growthInterval',
    ],
    ['sampling.maxTokens', { sampling: { maxTokens: 5 } }, 'maxNewTokens'],
  ])('are hinted at: %s', async (at, content, meant) => {
    await expect(readRunConfig(await file({ ...run, ...content }))).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: expect.stringContaining(`${at} is unknown: did you mean ${meant}?`) as string,
    });
  });
});

describe('readTrainableRun', () => {
  it('writes beside the file unless told', async () => {
    const at = await file(run, 'tiny.json');
    expect((await readTrainableRun(at, {})).training.outputDir).toBe(path.join(folder, 'runs', 'tiny'));
  });

  it.each<[string, object, string]>([
    ['data', { model, training: run.training }, 'data is missing'],
    ['training', { model, data: run.data }, 'training is missing'],
  ])('needs %s', async (_what, content, message) => {
    await expect(readTrainableRun(await file(content), {})).rejects.toThrow(message);
  });

  it('needs no training section when the command line says how long', async () => {
    const { training } = await readTrainableRun(await file({ model, data: run.data }), { maxSteps: 5 });
    expect(training.maxSteps).toBe(5);
  });

  it('takes sequences of an encoder, whose targets are their own', async () => {
    const data = { sequences: ['a.jsonl', 'b.jsonl'], batching: 'bucket', maxTokens: 1024 };
    const encoder = { ...run, data, model: { ...model, vocabSize: 64, isEncoder: true } };
    const read = await readTrainableRun(await file(encoder), {});
    const sequences = data.sequences.map((name) => expect.stringMatching(`^/.*/${name}$`) as string);
    expect(read.data).toEqual({ ...data, sequences });
  });

  it.each([
    [
      { data: { text: 'a', batching: 'pack' } },
      'data.batching only applies to sequences: remove it, because the data is text',
    ],
    [
      { data: { sequences: 'a', dtype: 'uint16' } },
      'data.dtype only applies to token files: remove it, because the data is sequences',
    ],
    [
      { data: { sequences: 'a', batching: 'packing' } },
      "data.batching must be one of 'pad', 'pack', 'bucket'",
    ],
    [
      { data: { sequences: 'a' }, model: { ...model, vocabSize: undefined } },
      'model.vocabSize is missing: set it, because files of sequences',
    ],
  ])('refuses %j', async (wrong, message) => {
    await expect(readTrainableRun(await file({ ...run, ...wrong }), {})).rejects.toThrow(message);
  });

  it('refuses an encoder, which would see the next token', async () => {
    const encoder = { ...run, model: { ...model, isEncoder: true } };
    await expect(readTrainableRun(await file(encoder), {})).rejects.toThrow('model.isEncoder true');
  });
});

describe('the JSON Schema', () => {
  it('describes every section, and requires only what has no default', () => {
    const schema = configSchema() as {
      properties: Record<string, { required?: string[]; properties?: Record<string, { default?: unknown }> }>;
      required?: string[];
    };
    expect(schema.required ?? []).toEqual([]);
    expect(Object.keys(schema.properties)).toEqual([
      '$schema',
      'model',
      'initFrom',
      'data',
      'training',
      'padding',
      'sampling',
    ]);
    expect(schema.properties['training']?.required).toEqual(['maxSteps']);
    expect(schema.properties['training']?.properties?.['optim']?.default).toBe('adamw');
    expect(JSON.stringify(schema)).toContain('Width of the residual stream');
  });

  it('describes every training argument, the nested ones too', () => {
    interface Field {
      readonly description?: string;
      readonly properties?: Readonly<Record<string, Field>>;
    }
    const undescribed = (field: Field, at: string): string[] => [
      ...(field.description === undefined ? [at] : []),
      ...Object.entries(field.properties ?? {}).flatMap(([name, inner]) =>
        undescribed(inner, `${at}.${name}`),
      ),
    ];
    const { properties } = configSchema() as { properties: { training: Field } };
    expect(undescribed(properties.training, 'training')).toEqual([]);
    expect(Object.keys(properties.training.properties ?? {})).toEqual(
      expect.arrayContaining(['lrSchedulerKwargs', 'warmupInitLearningRate', 'earlyStopping']),
    );
  });
});
