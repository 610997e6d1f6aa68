import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import type { Dataset } from '../../../lib/data/dataset';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { Model } from '../../../lib/models/model';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { tinyTokenizer } from '../support/tokenizer';

const json = JSON.stringify(tinyTokenizer());
const tokenizer = new JsonTokenizer(json);

let folder: string;
let model: Model;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tokenizer-checkpoint-'));
  const { vocabSize } = tokenizer;
  model = await Model.create(
    { type: 'gpt2', vocabSize, nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 2 },
    { device: 'cpu' },
  );
});
afterAll(async () => {
  model.dispose();
  await rm(folder, { recursive: true });
});

describe('a checkpoint made with a tokenizer.json', () => {
  it('has the file, and is loaded with it', async () => {
    const at = path.join(folder, 'saved');
    await saveModel(model, at, { tokenizer });
    expect(await readFile(path.join(at, 'tokenizer.json'), 'utf8')).toBe(json);
    const loaded = await loadModel(at, { device: 'cpu' });
    loaded.model.dispose();
    expect(loaded.tokenizer).toMatchObject({ name: 'tokenizer.json', sha256: tokenizer.sha256 });
    await saveModel(model, at, { ...(loaded.tokenizer ? { tokenizer: loaded.tokenizer } : {}) });
  });

  it("has what transformers' AutoTokenizer and generate read", async () => {
    const at = path.join(folder, 'published');
    await saveModel(model, at, { tokenizer });
    const read = async (name: string): Promise<unknown> =>
      JSON.parse(await readFile(path.join(at, name), 'utf8'));
    expect(await read('tokenizer_config.json')).toEqual({
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: '<|endoftext|>',
      eos_token: '<|endoftext|>',
      clean_up_tokenization_spaces: false,
      model_max_length: 8,
    });
    const end = tokenizer.vocabSize - 1;
    expect(await read('generation_config.json')).toEqual({ bos_token_id: end, eos_token_id: end });
  });

  it('is loaded with a tokenizer.json that nothing names, as those of other libraries', async () => {
    const at = path.join(folder, 'unnamed');
    await saveModel(model, at);
    await writeFile(path.join(at, 'tokenizer.json'), json);
    const loaded = await loadModel(at, { device: 'cpu' });
    loaded.model.dispose();
    expect(loaded.tokenizer?.vocabSize).toBe(tokenizer.vocabSize);
  });

  describe('and with the files next to it', () => {
    const end = tokenizer.vocabSize - 1;
    const SIDE: Readonly<Record<string, object>> = {
      'tokenizer_config.json': {
        ...{ tokenizer_class: 'GPT2Tokenizer', eos_token: '<|endoftext|>', pad_token: 'Ġthe' },
        ...{ chat_template: '{{ messages }}', model_max_length: 1e30, padding_side: 'left' },
      },
      'special_tokens_map.json': { eos_token: '<|endoftext|>', pad_token: 'Ġthe' },
      'added_tokens.json': { '<|endoftext|>': end },
      'chat_template.json': { chat_template: 'other' },
    };
    const GENERATION = {
      eos_token_id: [end, 3],
      pad_token_id: 7,
      do_sample: true,
      top_p: 0.9,
      max_length: 20,
    };
    let from: string;
    const read = async (at: string, name: string): Promise<unknown> =>
      JSON.parse(await readFile(path.join(at, name), 'utf8'));

    beforeAll(async () => {
      from = path.join(folder, 'with');
      await saveModel(model, from);
      const config = (await read(from, 'config.json')) as object;
      const more = {
        pad_token_id: 7,
        task_specific_params: { a: { max_length: 5 } },
        architectures: ['GPT2Model'],
      };
      const put = (name: string, value: object): Promise<void> =>
        writeFile(path.join(from, name), JSON.stringify(value));
      await put('config.json', { ...config, ...more, transformers_version: '4.0.0' });
      await put('generation_config.json', GENERATION);
      for (const [name, value] of Object.entries(SIDE)) await put(name, value);
      await writeFile(path.join(from, 'tokenizer.json'), json);
      await writeFile(path.join(from, 'chat_template.jinja'), '{{ messages }}\n');
    });

    const holdsAll = async (at: string): Promise<void> => {
      for (const [name, value] of Object.entries(SIDE)) expect(await read(at, name)).toMatchObject(value);
      expect(await readFile(path.join(at, 'chat_template.jinja'), 'utf8')).toBe('{{ messages }}\n');
      expect(await read(at, 'generation_config.json')).toMatchObject(GENERATION);
      const config = (await read(at, 'config.json')) as object;
      expect(config).toMatchObject({ pad_token_id: 7, task_specific_params: { a: { max_length: 5 } } });
      expect(config).toMatchObject({ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] });
      expect(config).not.toHaveProperty('transformers_version');
    };

    it('is saved again with all of it', async () => {
      const loaded = await loadModel(from, { device: 'cpu' });
      using one = loaded.model;
      const at = path.join(folder, 'with-again');
      await saveModel(one, at, { tokenizer: loaded.tokenizer! });
      await holdsAll(at);
      expect(loaded.tokenizer).toMatchObject({
        endOfTextToken: end,
        padToken: tinyTokenizer().model.vocab['Ġthe'],
      });
    });

    it('is trained on with all of it, and resumed', async () => {
      const loaded = await loadModel(from, { device: 'cpu' });
      using one = loaded.model;
      const run = path.join(folder, 'run');
      const train: Dataset = {
        blockSize: 4,
        tokenizer: loaded.tokenizer!,
        batch: async () => ({ tokens: [[1, 2, 3, 4]] }),
        async *evaluationBatches() {},
      };
      const args = { maxSteps: 1, batchSize: 1, outputDir: run };
      await new Trainer(one, { arguments: args, train }).train();
      await holdsAll(path.join(run, 'checkpoint-1'));
      using other = await Model.create(one.config, { device: 'cpu' });
      const trainer = new Trainer(other, {
        arguments: { ...args, outputDir: path.join(folder, 'other') },
        train,
      });
      await trainer.resume(run);
      await trainer.save(path.join(folder, 'resumed'));
      await holdsAll(path.join(folder, 'resumed'));
    });

    it('leaves out ids that the model or another tokenizer does not have', async () => {
      const at = path.join(folder, 'ids');
      const wrong = { ...GENERATION, eos_token_id: [99_999], pad_token_id: -1, forced_eos_token_id: null };
      await writeFile(path.join(from, 'generation_config.json'), JSON.stringify(wrong));
      const loaded = await loadModel(from, { device: 'cpu' });
      using one = loaded.model;
      await saveModel(one, at, { tokenizer: loaded.tokenizer! });
      const { vocab } = tinyTokenizer().model;
      expect(await read(at, 'generation_config.json')).toEqual({
        ...{ do_sample: true, top_p: 0.9, max_length: 20, forced_eos_token_id: null },
        ...{ bos_token_id: end, eos_token_id: end, pad_token_id: vocab['Ġthe'] },
      });
    });
  });

  it('of vocab.json and merges.txt is loaded, and saved as a tokenizer.json', async () => {
    const at = path.join(folder, 'pair');
    await saveModel(model, at);
    const { vocab, merges } = tinyTokenizer().model;
    await writeFile(
      path.join(at, 'vocab.json'),
      JSON.stringify({ ...vocab, '<|endoftext|>': tokenizer.vocabSize - 1 }),
    );
    await writeFile(path.join(at, 'merges.txt'), `#version: 0.2\n${merges.join('\n')}\n`);
    const loaded = await loadModel(at, { device: 'cpu' });
    using one = loaded.model;
    expect([...(await loaded.tokenizer!.encode(' the cat'))]).toEqual([
      ...(await tokenizer.encode(' the cat')),
    ]);
    const saved = path.join(folder, 'pair-saved');
    await saveModel(one, saved, { tokenizer: loaded.tokenizer! });
    const again = await loadModel(saved, { device: 'cpu' });
    again.model.dispose();
    expect(again.tokenizer).toMatchObject({ sha256: (loaded.tokenizer as JsonTokenizer).sha256 });
    await rm(path.join(at, 'merges.txt'));
    const { message } = await failureOf('ERR_CHECKPOINT', () => loadModel(at, { device: 'cpu' }));
    expect(message).toMatch(/vocab.json' has the vocabulary.*needs 'merges.txt'/);
  });

  it('may have more rows than tokens, but not fewer', async () => {
    const sizes = { type: 'gpt2', nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 2 } as const;
    using larger = await Model.create({ ...sizes, vocabSize: tokenizer.vocabSize + 47 }, { device: 'cpu' });
    const at = path.join(folder, 'rows');
    await saveModel(larger, at, { tokenizer });
    const loaded = await loadModel(at, { device: 'cpu' });
    loaded.model.dispose();
    expect(loaded.model.config).toMatchObject({ vocabSize: tokenizer.vocabSize + 47 });
    using smaller = await Model.create({ ...sizes, vocabSize: tokenizer.vocabSize - 1 }, { device: 'cpu' });
    await saveModel(smaller, at);
    await writeFile(path.join(at, 'tokenizer.json'), json);
    const { message } = await failureOf('ERR_CONFIG', () => loadModel(at, { device: 'cpu' }));
    expect(message).toMatch(/the model lacks "<\|endoftext\|>" \(\d+\)\. .*resize_token_embeddings/);
  });

  it('is refused when the file is gone or damaged', async () => {
    const at = path.join(folder, 'damaged');
    await saveModel(model, at, { tokenizer });
    await writeFile(path.join(at, 'tokenizer.json'), json.slice(0, -5));
    const damaged = await failureOf('ERR_CHECKPOINT', () => loadModel(at, { device: 'cpu' }));
    expect(damaged.message).toContain("can't be used as a tokenizer");
    await rm(path.join(at, 'tokenizer.json'));
    const gone = await failureOf('ERR_CHECKPOINT', () => loadModel(at, { device: 'cpu' }));
    expect(gone.message).toContain('the file does not exist');
  });
});
