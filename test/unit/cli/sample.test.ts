import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { saveModel } from '../../../lib/checkpoint/checkpoint';
import { converse, type Answer } from '../../../lib/cli/interactive';
import { parseSetting } from '../../../lib/cli/sampling_options';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { knownTokens } from '../../../lib/data/known_tokens';
import { Sampler } from '../../../lib/sampling/sampler';
import { records, tesserae } from '../support/command_line';
import { disposeModels, preferringModel, tinyModel } from '../support/tiny_model';
import { gappedTokenizer, SENTENCE_PIECE, tinyTokenizer, UNIGRAM, WORD_PIECE } from '../support/tokenizer';

let folder: string;
const at = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'sample-'));
  const tokenizer = new ByteTokenizer();
  const text = await tinyModel({ vocabSize: 256 });
  await saveModel(text, at('text'), { tokenizer });
  const trainingStarts = { firstTokens: [{ token: 3, count: 9 }], promptTokens: { least: 1, most: 1 } };
  await saveModel(await tinyModel(), at('ids'), { trainingStarts });
  await saveModel(await tinyModel({ vocabSize: 256, nTypes: 3 }), at('types'), { tokenizer });
  const gaps = gappedTokenizer(40, [10, 34]);
  await saveModel(await preferringModel(40, [10, 34]), at('gaps'), { tokenizer: gaps });
  disposeModels();
});
afterAll(() => rm(folder, { recursive: true }));

const sample = (name: string, ...args: string[]): ReturnType<typeof tesserae> =>
  tesserae('sample', at(name), '--threads', '1', '--device', 'cpu', ...args);

describe('sample', () => {
  it('prints prompt and text, and the same as JSON', async () => {
    const args = ['--prompt', 'ab', '--max-new-tokens', '5', '--seed', '4'];
    const { code, out, err } = await sample('text', ...args);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const json = await sample('text', ...args, '--json', '--logprobs', '2');
    const [record, ...others] = records(json.out);
    expect(others).toEqual([]);
    expect(record).toMatchObject({ type: 'sample', prompt: 'ab', finishReason: 'length' });
    expect(out).toBe(`ab${String(record?.['text'])}\n`);
    expect(record?.['tokens']).toHaveLength(5);
    expect(record?.['logprobs']).toHaveLength(5);
    expect((record?.['topLogprobs'] as unknown[])[0]).toHaveLength(2);
  });

  it('prints several texts with a line between them, a JSON line each', async () => {
    const args = ['--max-new-tokens', '3', '--num-return-sequences', '2', '--suppress-tokens', '10', '45'];
    const { out } = await sample('text', ...args, '--prompt', 'ab');
    expect(out).toMatch(/^ab[^]*\n---------------\nab[^]*\n$/);
    expect(records((await sample('text', ...args, '--json')).out)).toHaveLength(2);
  });

  it('searches with beams, without the default temperature', async () => {
    const beams = ['--num-beams', '3', '--max-new-tokens', '4', '--prompt', 'a', '--early-stopping'];
    expect(await sample('text', ...beams)).toMatchObject({ code: 0, err: '' });
    const refused = await sample('text', ...beams, '--temperature', '1');
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/ERR_CONFIG: temperature does not work with beam search/);
  });

  it.each([
    ['drawn', []],
    ['greedy', ['--temperature', '0']],
    ['beams', ['--num-beams', '4']],
  ])('never prints an id that has no token (%s)', async (_, args) => {
    const given = ['--prompt', '1 2', '--max-new-tokens', '8', ...args];
    const { out } = await sample('gaps', ...given, '--json');
    const tokens = records(out)[0]?.['tokens'] as number[];
    expect(tokens).toHaveLength(8);
    expect(tokens.filter((id) => id >= 10 && id <= 34)).toEqual([]);
    expect((await sample('gaps', ...given)).out).toMatch(/^1 2( (\d|3[5-9]))+\n$/);
  });

  it.each<[string, object, string, string, string]>([
    ['SentencePiece', SENTENCE_PIECE, '▁the', 'the', 'the the the'],
    ['SentencePiece, within a word', SENTENCE_PIECE, 's', 'the', 'thess'],
    ['Unigram', UNIGRAM, '▁the', 'the', 'the the the'],
    ['WordPiece', WORD_PIECE, 'cat', 'the', 'the cat cat'],
    ['WordPiece, within a word', WORD_PIECE, '##s', 'cat', 'catss'],
    ['byte level', tinyTokenizer(), 'Ġthe', 'the', 'the the the'],
  ])('prints what continues a prompt (%s)', async (_, json, token, prompt, text) => {
    const tokenizer = new JsonTokenizer(JSON.stringify(json));
    const id = knownTokens(tokenizer.json).idOf(token)!;
    const name = `${path.basename(await mkdtemp(at('continued-')))}/model`;
    await saveModel(await preferringModel(tokenizer.vocabSize, [id, id]), at(name), { tokenizer });
    const ways = [
      ['--temperature', '0'],
      ['--num-beams', '2'],
    ];
    for (const way of ways) {
      const args = ['--prompt', prompt, '--max-new-tokens', '2', ...way];
      const run = (...more: string[]) => sample(name, ...args, ...more);
      expect((await run()).out).toBe(`${text}\n`);
      expect(records((await run('--json')).out)).toMatchObject([{ text: text.slice(prompt.length) }]);
      // The same again would follow.
      const piece = text.slice(prompt.length, (prompt.length + text.length) / 2);
      expect((await run('--stop', piece)).out).toBe(`${prompt}\n`);
    }
  });

  it('hands each flag over as the option of that name', async () => {
    const refusals: [string[], RegExp][] = [
      [['--no-repeat-ngram-size', '2000000'], /noRepeatNgramSize.*2000000/],
      [['--min-new-tokens', '201'], /minNewTokens is 201, more than maxNewTokens 200/],
      [['--frequency-penalty', '-101'], /frequencyPenalty.*-101/],
      [['--presence-penalty', '101'], /presencePenalty.*101/],
      [['--repetition-penalty', '0'], /repetitionPenalty.*0/],
      [['--eos-token-id', '256'], /eosTokenId names the token 256/],
      [['--stop-tokens', '1', '999'], /stopTokens names the token 999/],
      [['--length-penalty', '-101'], /lengthPenalty.*-101/],
      [['--top-p', '2'], /topP.*2/],
      [['--min-p', '2'], /minP.*2/],
    ];
    for (const [args, message] of refusals) {
      const { code, err } = await sample('text', ...args);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(message) as string });
    }
  });

  it('refuses --logprobs without --json, and --prompt with --interactive', async () => {
    expect((await sample('text', '--logprobs', '1')).err).toMatch(/needs --json/);
    expect(await sample('text', '--prompt', 'a', '--interactive')).toMatchObject({ code: 2 });
  });

  it('reads and prints ids without a tokenizer, and starts as training sequences do', async () => {
    const json = records((await sample('ids', '--max-new-tokens', '4', '--json')).out);
    expect(json[0]).toMatchObject({ prompt: '', text: expect.stringMatching(/^\d+( \d+){3}$/) as string });
    const spelt = records((await sample('ids', '--max-new-tokens', '4', '--json', '--prompt', '3')).out);
    expect(spelt[0]?.['tokens']).toEqual(json[0]?.['tokens']);
    const other = await sample('ids', '--prompt', '4, 5');
    expect(other).toMatchObject({ code: 1, out: '' });
    expect(other.err).toMatch(
      /ERR_DATA: the prompt begins with token 4, .*training sequences began with 3: begin with it/,
    );
    expect(await sample('ids', '--prompt', '4', '--allow-any-start')).toMatchObject({ code: 0 });
    expect((await sample('ids', '--prompt', 'the cat')).err).toMatch(/ERR_DATA: 'the' is not a token id/);
    expect((await sample('ids', '--prompt', '32')).err).toMatch(/'32' is not a token id: .* 0 to 31/);
  });

  it('says how a model with types is sampled', async () => {
    const { code, err } = await sample('types', '--prompt', 'a', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(err)).toMatchObject({
      code: 'ERR_CONFIG',
      message: expect.stringMatching(/nTypes 3.*sampler\.generate\(prompt, \{ types/) as string,
    });
  });
});

describe('parseSetting', () => {
  it.each<[string, object]>([
    ['temperature 0.5', { temperature: 0.5 }],
    ['top-p 0.9', { topP: 0.9 }],
    ['topP  0.9 ', { topP: 0.9 }],
    ['no-repeat-ngram-size 3', { noRepeatNgramSize: 3 }],
    ['stopTokens 1 2  3', { stopTokens: [1, 2, 3] }],
    ['stop The end', { stop: ['The end'] }],
    ['early-stopping', { earlyStopping: true }],
  ])('%s', (text, expected) => expect(parseSetting(text)).toEqual(expected));

  it.each<[string, RegExp]>([
    ['', /no option ''/],
    ['temprature 1', /no option 'temprature': \/help/],
    ['temprature 1', /Did you mean temperature\?/],
    ['maxTokens 5', /Did you mean maxNewTokens\?/],
    ['temperature', /needs a value: --temperature <number>/],
    ['temperature hot', /number of at least 0/],
    ['topK 1 2', /integer/],
  ])('refuses %j', (text, message) => expect(() => parseSetting(text)).toThrow(message));
});

describe('converse', () => {
  afterEach(disposeModels);

  /** Runs a conversation with typed lines; returns the answered prompts and what was written to the terminal. */
  async function conversation(
    isTTY: boolean,
    type: (input: PassThrough) => void,
    answer: Answer = () => Promise.resolve(),
  ): Promise<{ code: number; answered: string[]; settings: object[]; shown: string }> {
    const stream = (): PassThrough & { isTTY: boolean } =>
      Object.assign(new PassThrough(), { isTTY, columns: 80 });
    const [input, output] = [stream(), stream()];
    const sampler = new Sampler(await tinyModel({ vocabSize: 256 }), new ByteTokenizer());
    const [answered, settings]: [string[], object[]] = [[], []];
    const note: Answer = async (one, prompt, { signal, ...options }) => {
      answered.push(prompt);
      settings.push(options);
      await answer(one, prompt, { signal, ...options });
    };
    type(input);
    const code = await converse(sampler, { seed: 1 }, note, { input, output });
    return { code, answered, settings, shown: String(output.read() ?? '') };
  }

  it('answers each line of a pipe as it is, and shows nothing', async () => {
    const { code, answered, shown } = await conversation(false, (input) =>
      input.end('the cat\n\n/quit\nlast'),
    );
    expect({ code, answered, shown }).toEqual({
      code: 0,
      answered: ['the cat', '', '/quit', 'last'],
      shown: '',
    });
  });

  it('ends with the first line of a pipe that can not be answered', async () => {
    const fails: Answer = async (sampler) => void (await sampler.generate([999]));
    await expect(conversation(false, (input) => input.end('a\nb\n'), fails)).rejects.toMatchObject({
      code: 'ERR_DATA',
    });
  });

  it('accepts commands from a terminal, reports mistakes and continues', async () => {
    const fails: Answer = async (sampler, prompt) => {
      if (prompt === 'bad') await sampler.generate([999]);
    };
    const { code, answered, settings, shown } = await conversation(
      true,
      (input) => input.write('one\n/set topP 0.5\n/set topQ 1\nbad\ntwo\n/help\n/quit\n'),
      fails,
    );
    expect({ code, answered }).toEqual({ code: 0, answered: ['one', 'bad', 'two'] });
    expect(settings).toEqual([{ seed: 1 }, { seed: 1, topP: 0.5 }, { seed: 1, topP: 0.5 }]);
    expect(shown).toContain("There is no option 'topQ'");
    expect(shown).toContain('ERR_DATA: token 0 of the prompt is 999');
    expect(shown).toMatch(/\/set <option> <value>[^]*top-p 0\.5/);
  });

  it('Ctrl-C stops the current text, then leaves', async () => {
    const aborted: boolean[] = [];
    let keyboard: PassThrough | undefined;
    const slow: Answer = async (_sampler, prompt, { signal }) => {
      const stopped = once(signal, 'abort');
      keyboard?.write('\u0003');
      await stopped;
      aborted.push(signal.aborted);
      setImmediate(() => keyboard?.write(prompt === 'one' ? 'two\n' : '\u0003'));
    };
    const { code, answered } = await conversation(
      true,
      (input) => {
        keyboard = input;
        input.write('one\n');
      },
      slow,
    );
    expect({ code, answered, aborted }).toEqual({ code: 0, answered: ['one', 'two'], aborted: [true, true] });
  });

  it('Ctrl-D leaves', async () => {
    expect((await conversation(true, (input) => input.write('\u0004'))).code).toBe(0);
  });
});
