import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModel, saveModel } from '../../../lib/checkpoint/checkpoint';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { Model } from '../../../lib/models/model';
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

  it('is refused when the file is gone or damaged', async () => {
    const at = path.join(folder, 'damaged');
    await saveModel(model, at, { tokenizer });
    await writeFile(path.join(at, 'tokenizer.json'), json.slice(0, -5));
    const damaged = await failureOf('ERR_CHECKPOINT', () => loadModel(at, { device: 'cpu' }));
    expect(damaged.message).toContain('is not a tokenizer that can be used');
    await rm(path.join(at, 'tokenizer.json'));
    const gone = await failureOf('ERR_CHECKPOINT', () => loadModel(at, { device: 'cpu' }));
    expect(gone.message).toContain('there is no such file');
  });
});
