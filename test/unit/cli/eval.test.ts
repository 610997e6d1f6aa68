import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { saveModel } from '../../../lib/checkpoint/checkpoint';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import type { Tokenizer } from '../../../lib/data/tokenizer';
import { tokenSettings } from '../../../lib/models/families';
import type { Model } from '../../../lib/models/model';
import { tesserae } from '../support/command_line';
import { disposeModels, tinyModel } from '../support/tiny_model';
import { tinyTokenizer } from '../support/tokenizer';

const bytes = new ByteTokenizer();
const words = new JsonTokenizer(JSON.stringify(tinyTokenizer()));
// Longer than three rows; é is two bytes, which are two tokens of both vocabularies.
const TEXT = 'the cat sat on the mat, é, and the dog lay on the log. The end';

let folder: string;
let models: { bytes: Model; words: Model };
const at = (...names: string[]): string => path.join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'eval-'));
  models = {
    bytes: await tinyModel({ vocabSize: 256, initializerRange: 0.5 }),
    words: await tinyModel({ vocabSize: words.vocabSize, initializerRange: 0.5 }),
  };
  await saveModel(models.bytes, at('bytes'), { tokenizer: bytes });
  await saveModel(models.words, at('words'), { tokenizer: words });
  await saveModel(models.bytes, at('silent'));
  await saveModel(await tinyModel({ vocabSize: 256, isEncoder: true }), at('encoder'), { tokenizer: bytes });
  await writeFile(at('text.txt'), TEXT);
});
afterAll(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

const evaluate = (name: string, ...args: string[]): ReturnType<typeof tesserae> =>
  tesserae('eval', at(name), '--threads', '1', '--device', 'cpu', ...args);

interface Result {
  loss: number;
  perplexity: number;
  bitsPerByte?: number;
  tokens: number;
}

async function resultOf(name: string, ...args: string[]): Promise<Result> {
  const { code, out, err } = await evaluate(name, '--json', ...args);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out) as Result;
}

/** Nats of every token of a text but its first, in rows of nPositions, from log-probabilities. */
async function natsOf(model: Model, tokenizer: Tokenizer, text: string): Promise<number> {
  const ids = await tokenizer.encode(text);
  const { nPositions, vocabSize } = tokenSettings(model.config)!;
  let nats = 0;
  for (let first = 0; first + 1 < ids.length; first += nPositions) {
    const row = ids.subarray(first, Math.min(first + nPositions, ids.length - 1));
    const { data } = await model.logProbs([row]);
    row.forEach((_, i) => (nats -= data[i * vocabSize + (ids[first + i + 1] ?? 0)] ?? NaN));
  }
  return nats;
}

describe('a text', () => {
  it('of bytes is evaluated to its last token', async () => {
    const { loss, perplexity, bitsPerByte, tokens } = await resultOf('bytes', at('text.txt'));
    expect(tokens).toBe(Buffer.byteLength(TEXT) - 1);
    // Two orders of adding 62 fp32 losses of about 6.
    expect(loss).toBeCloseTo((await natsOf(models.bytes, bytes, TEXT)) / tokens, 5);
    expect(perplexity).toBe(Math.exp(loss));
    expect(bitsPerByte).toBeCloseTo(loss / Math.LN2, 12);
  });

  it('of a tokenizer.json has bits for each byte that was predicted', async () => {
    const { loss, bitsPerByte, tokens } = await resultOf('words', at('text.txt'));
    const ids = await words.encode(TEXT);
    expect(tokens).toBe(ids.length - 1);
    expect(loss).toBeCloseTo((await natsOf(models.words, words, TEXT)) / tokens, 5);
    const predicted = Buffer.byteLength(TEXT) - Buffer.byteLength(words.decode(ids.subarray(0, 1)));
    expect(bitsPerByte).toBeCloseTo((loss * tokens) / (Math.LN2 * predicted), 12);
  });

  it('of a text with a byte order mark is that of the text', async () => {
    await writeFile(at('marked.txt'), `\uFEFF${TEXT}`);
    for (const model of ['words', 'bytes']) {
      const { loss, bitsPerByte, tokens } = await resultOf(model, at('text.txt'));
      expect(await resultOf(model, at('marked.txt'))).toMatchObject({ loss, bitsPerByte, tokens });
    }
  });

  it('counts no bytes for tokens that end a document, whose nats count', async () => {
    await writeFile(at('two.txt'), 'the cat<|endoftext|>the dog');
    const { loss, bitsPerByte, tokens } = await resultOf('words', at('two.txt'));
    const first = Buffer.byteLength(words.decode((await words.encode('the cat')).subarray(0, 1)));
    expect(bitsPerByte).toBeCloseTo((loss * tokens) / (Math.LN2 * ('the catthe dog'.length - first)), 12);
  });

  it('gives the same for any batch size, and less of it where that is asked for', async () => {
    const whole = await resultOf('bytes', at('text.txt'));
    for (const size of ['1', '2', '3', '50']) {
      const { loss, tokens } = await resultOf('bytes', at('text.txt'), '--batch-size', size);
      expect(tokens).toBe(whole.tokens);
      // Sums of fp32 losses in another order.
      expect(Math.abs(loss / whole.loss - 1)).toBeLessThan(1e-6);
    }
    const args = ['--batch-size', '1', '--max-batches', '2'];
    expect((await resultOf('bytes', at('text.txt'), ...args)).tokens).toBe(32);
  });

  it('may be in several files', async () => {
    await writeFile(at('a.txt'), TEXT.slice(0, 20));
    await writeFile(at('b.txt'), TEXT.slice(20));
    const { loss } = await resultOf('bytes', at('a.txt'), at('b.txt'));
    expect(loss).toBe((await resultOf('bytes', at('text.txt'))).loss);
  });

  it('is described in words', async () => {
    const { out } = await evaluate('bytes', at('text.txt'));
    expect(out).toMatch(
      /^evaluated +.*bytes, 62 tokens\nloss +\d\.\d{4} nats per token\nperplexity +[\d.]+\nbits\/byte +\d+\.\d{4}\n$/,
    );
  });
});

it('sequences count the targets that have a loss, and no bytes', async () => {
  await writeFile(
    at('some.jsonl'),
    '{"tokens": [1, 2, 3, 4], "lossMask": [0, 0, 1, 1]}\n{"tokens": [5, 6, 7]}\n',
  );
  const { loss, tokens, bitsPerByte } = await resultOf('bytes', at('some.jsonl'));
  expect({ tokens, bitsPerByte }).toEqual({ tokens: 4, bitsPerByte: undefined });
  const { data } = await models.bytes.logProbs([
    [1, 2, 3],
    [5, 6, 6],
  ]);
  const nats = [
    [1, 3],
    [2, 4],
    [3, 6],
    [4, 7],
  ].map(([row = 0, target = 0]) => -(data[row * 256 + target] ?? NaN));
  expect(loss).toBeCloseTo(nats.reduce((a, b) => a + b) / 4, 5);
});

it('token files: a whole one, or the val.bin of a folder', async () => {
  const name = at('prepared');
  await writeFile(at('long.txt'), `${TEXT}\n`.repeat(10));
  await tesserae('prepare', at('long.txt'), '--output', name, '--json');
  const kept = await resultOf('bytes', name);
  expect(kept.tokens).toBeLessThan(64);
  const validation = await resultOf('bytes', path.join(name, 'val.bin'));
  expect(validation).toMatchObject({ loss: kept.loss, tokens: kept.tokens });
  expect(validation.bitsPerByte).toBeCloseTo(kept.loss / Math.LN2, 12);
  expect((await resultOf('bytes', path.join(name, 'train.bin'))).tokens).toBeGreaterThan(500);
  const other = await evaluate('words', name);
  expect(other.code).toBe(1);
  expect(other.err).toMatch(
    /has the 'tokenizer\.json' tokenizer, but the data uses the 'byte'.*tesserae prepare/,
  );
});

describe('mistakes', () => {
  beforeAll(async () => {
    await mkdir(at('none'));
    await writeFile(at('one.txt'), 'x');
    await writeFile(at('empty.txt'), '');
    await writeFile(at('huge.txt'), '');
    await truncate(at('huge.txt'), 2 ** 28 + 1);
    await writeFile(at('binary.txt'), Buffer.from([1, 0, 2]));
  });

  it.each<[string, string, string[], RegExp]>([
    ['no checkpoint', 'none', ['text.txt'], /ERR_CHECKPOINT: .* holds no checkpoint/],
    ['neither a checkpoint nor data', 'none', [], /ERR_CHECKPOINT: .* holds no checkpoint/],
    ['no such text', 'bytes', ['no.txt'], /ERR_DATA: the text file '.*no\.txt' does not exist/],
    ['a text of one token', 'bytes', ['one.txt'], /ERR_DATA: the evaluation has no target/],
    ['an empty text', 'bytes', ['empty.txt'], /ERR_DATA: .*is empty/],
    ['a text that is too large', 'bytes', ['huge.txt'], /ERR_DATA: .*268435457 bytes.*tesserae prepare/],
    ['no text', 'bytes', ['binary.txt'], /ERR_DATA: .*NUL byte/],
    ['two kinds', 'bytes', ['text.txt', 'some.jsonl'], /ERR_DATA: the data has both texts and sequences/],
    ['an encoder', 'encoder', ['text.txt'], /ERR_CONFIG: .*but this model already sees them/],
    ['no tokenizer', 'silent', ['text.txt'], /ERR_CHECKPOINT: .*has no tokenizer.*\.jsonl/],
  ])('%s', async (_what, model, files, message) => {
    const { code, out, err } = await evaluate(model, ...files.map((name) => at(name)));
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(message);
  });

  it('nothing to evaluate on', async () => {
    expect(await evaluate('bytes')).toMatchObject({
      code: 2,
      err: expect.stringMatching(/give files to evaluate on/) as string,
    });
  });
});
