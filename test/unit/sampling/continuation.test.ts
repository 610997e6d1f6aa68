import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import type { GenerateOptions } from '../../../lib/sampling/options';
import { Sampler } from '../../../lib/sampling/sampler';
import { disposeModels, tinyModel } from '../support/tiny_model';
import { BYTE_FALLBACK, SENTENCE_PIECE, tinyTokenizer, UNIGRAM, WORD_PIECE } from '../support/tokenizer';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'continuation-'));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(disposeModels);

/** The continuation of a prompt: how it is returned, and where it stops. */
const CASES: readonly (readonly [name: string, json: object, prompt: string, text: string, stop: string])[] =
  [
    ['a new word of SentencePiece', SENTENCE_PIECE, 'the', ' cats the', ' cat'],
    ['the end of a word of SentencePiece', SENTENCE_PIECE, 'the c', 'ats the', ' the'],
    ['a new word of WordPiece', WORD_PIECE, 'the', ' cats sat', ' sat'],
    ['the end of a word of WordPiece', WORD_PIECE, 'the cat', 's sat', 's s'],
    ['a new word of Unigram', UNIGRAM, 'the', ' cats the', ' cat'],
    ['the end of a word of Unigram', UNIGRAM, 'the c', 'ats the', ' the'],
    ['a new word of byte fallback', BYTE_FALLBACK, 'the', ' cats ᚠᚡᚢᚣᚤᚥᚦᚧ the', 'ᚦᚧ the'],
    ['bytes of byte fallback', BYTE_FALLBACK, 'the ᚠᚡᚢᚣᚤᚥᚦᚧ', 'ᚢᚣᚤᚥᚦ a🎉', ' a🎉'],
    ['bytes', tinyTokenizer(), 'the', ' cat in é 🎉 the', ' 🎉'],
  ];

it.each(CASES)('%s is decoded after its prompt', async (_, json, prompt, text, stop) => {
  const file = path.join(folder, 'tokenizer.json');
  await writeFile(file, JSON.stringify(json));
  const tokenizer = await JsonTokenizer.fromFile(file);
  const model = await tinyModel({ vocabSize: tokenizer.vocabSize, nPositions: 64 });
  const one = new Sampler(model, tokenizer);
  const first = await tokenizer.encode(prompt);
  const all = await tokenizer.encode(prompt + text);
  expect([...all.subarray(0, first.length)]).toEqual([...first]);
  const ids = [...all.subarray(first.length)];
  const options: GenerateOptions = {
    maxNewTokens: ids.length,
    forcedTokens: new Map(ids.map((id, i) => [first.length + i, id])),
  };
  const ends: GenerateOptions[] = [options, { ...options, numBeams: 2 }];
  for (const each of ends) {
    expect(await one.generate(prompt, each)).toMatchObject({ text, finishReason: 'length' });
    // As ids, and beside another.
    expect(await one.generate([first, prompt], each)).toMatchObject([{ text }, { text }]);
    const stopped = { text: text.slice(0, text.indexOf(stop)), finishReason: 'stop' };
    expect(await one.generate(prompt, { ...each, stop })).toMatchObject(stopped);
  }
  let streamed = '';
  for await (const piece of one.stream(prompt, options)) streamed += piece.text;
  expect(streamed).toBe(text);
});

it('what continues an empty prompt is a text from its first token on', async () => {
  const file = path.join(folder, 'tokenizer.json');
  await writeFile(file, JSON.stringify(SENTENCE_PIECE));
  const tokenizer = await JsonTokenizer.fromFile(file);
  const one = new Sampler(await tinyModel({ vocabSize: tokenizer.vocabSize, bosTokenId: 0 }), tokenizer);
  const ids = [...(await tokenizer.encode('the cats'))];
  const options = {
    maxNewTokens: ids.length,
    forcedTokens: new Map(ids.map((id, i) => [1 + i, id])),
  };
  for (const numBeams of [1, 2])
    expect(await one.generate('', { ...options, numBeams })).toMatchObject({ text: 'the cats' });
});
