import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { loadModel, saveModel } from '../../lib/checkpoint/checkpoint';
import { readJson } from '../../lib/cli/json_file';
import { prepareTokens } from '../../lib/data/prepare/prepare';
import { openSequences } from '../../lib/data/sequences/sequences';
import { openText } from '../../lib/data/text';
import { openTokenizer } from '../../lib/data/tokenizers';
import { openTokens } from '../../lib/data/tokens';
import type { ErrorCode } from '../../lib/errors';
import { failureOf } from './support/errors';
import { disposeModels, tinyModel } from './support/tiny_model';

const POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 548105171\n';
const PAGE = '<!DOCTYPE html>\n<html><body>Log in</body></html>\n'.padEnd(200);
const PACKED = gzipSync('{"text": "packed"}\n'.repeat(200));
// Zip archives of torch.save begin with the name of the pickle in them.
const PICKLE = Buffer.from(`PK\x03\x04${'\0'.repeat(26)}archive/data.pkl${'\0'.repeat(100)}`, 'latin1');

let folder: string;
const at = (...names: string[]): string => path.join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'other-files-'));
  const model = await tinyModel();
  for (const name of ['config.json', 'model.safetensors']) await saveModel(model, at(name));
  await saveModel(model, at('index'));
  await rm(at('index', 'model.safetensors'));
  disposeModels();
});
afterAll(() => rm(folder, { recursive: true }));

const load = (name: string) => async () => void (await loadModel(at(name), { device: 'cpu' }));
const open = (opening: (file: string) => Promise<unknown>) => async (file: string) =>
  void (await opening(file));

/** A reader of a file: its path, how it is read, and the code of the error. */
const READERS: readonly [string, string, (file: string) => Promise<void>, ErrorCode][] = [
  ['weights', 'model.safetensors/model.safetensors', load('model.safetensors'), 'ERR_CHECKPOINT'],
  ["a model's configuration", 'config.json/config.json', load('config.json'), 'ERR_CHECKPOINT'],
  ['an index of weights', 'index/model.safetensors.index.json', load('index'), 'ERR_CHECKPOINT'],
  ["a run's configuration", 'run.json', open(readJson), 'ERR_CONFIG'],
  ['a tokenizer', 'tokenizer.json', open(openTokenizer), 'ERR_DATA'],
  ['a text', 'text.txt', open((file) => openText(file, { blockSize: 4 })), 'ERR_DATA'],
  [
    'sequences',
    'sequences.jsonl',
    open((file) => openSequences(file, { blockSize: 4, vocabSize: 9 })),
    'ERR_DATA',
  ],
  [
    'token ids',
    'tokens.bin',
    open((file) => openTokens(file, { blockSize: 4, vocabSize: 50_000 })),
    'ERR_DATA',
  ],
  ['an input of prepare', 'input.txt', open((file) => prepared(file)), 'ERR_DATA'],
  ['an input of JSON lines', 'input.jsonl', open((file) => prepared(file)), 'ERR_DATA'],
];

let count = 0;
async function prepared(input: string): Promise<void> {
  const output = at(`out${count++}`);
  await mkdir(output);
  await prepareTokens(output, {
    ...{ inputs: [input], inputNames: [input], tokenizer: 'byte', format: 'nanogpt', workers: 1 },
    ...{ validationFraction: 0, textKey: 'text' },
  });
}

describe.each(READERS)('%s', (_what, name, read, code) => {
  it.each<[string, string | Uint8Array, RegExp]>([
    ['a pointer of Git LFS', POINTER, /is a Git LFS pointer.*git lfs pull/],
    ['a gzip file', PACKED, /a gzip file: unpack it/],
    ['a checkpoint of PyTorch', PICKLE, /a PyTorch checkpoint.*save_pretrained/],
    ...(name === 'text.txt' || name === 'input.txt'
      ? []
      : [['a page', PAGE, /an HTML page/] as [string, string, RegExp]]),
  ])('that is %s is called that', async (_kind, contents, message) => {
    const file = at(name);
    await writeFile(file, contents);
    expect((await failureOf(code, () => read(file))).message).toMatch(message);
  });
});
