import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { saveModel } from '../../../lib/checkpoint/checkpoint';
import { errorLine, labelled, print, safeFor, shownPath } from '../../../lib/cli/terminal';
import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { RunReport } from '../../../lib/report/run_report';
import { safeText } from '../../../lib/report/safe_text';
import { records, tesserae } from '../support/command_line';
import { disposeModels, tinyModel } from '../support/tiny_model';

const EVIL = '\u001B]0;title\u0007\u001B[31m\u009B2J\u007F\u202E';

it('keeps control characters of a model from a terminal, and from nothing else', () => {
  const text = 'a\tb\nc\u001b[2Jd\u0007\u009be é';
  expect(safeFor({ isTTY: true }, text)).toBe('a\tb\nc\uFFFD[2Jd\uFFFD\uFFFDe é');
  expect(safeFor({ isTTY: false }, text)).toBe(text);
  expect(safeFor({}, text)).toBe(text);
});

it('shows paths below the current folder as relative ones', () => {
  expect(shownPath(path.resolve('runs/a/loss.svg'))).toBe(path.join('runs', 'a', 'loss.svg'));
  expect(shownPath(path.resolve('..', 'x'))).toBe(path.resolve('..', 'x'));
  expect(shownPath(path.resolve('.'))).toBe('.');
});

it('filters paths, values, and errors of any kind', () => {
  for (const text of [
    shownPath(EVIL),
    labelled([['label', EVIL]]),
    errorLine(new Error(EVIL)),
    errorLine(EVIL),
  ])
    expect(text).toBe(safeText(text));
});

describe('the command line', () => {
  let folder: string;
  const at = (name: string): string => path.join(folder, name);
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), `terminal-${EVIL.replace('/', '')}`));
    await saveModel(await tinyModel({ vocabSize: 256 }), at('model'), { tokenizer: new ByteTokenizer() });
    disposeModels();
    const config = JSON.parse(await readFile(at('model/config.json'), 'utf8')) as object;
    await mkdir(at('evil'));
    await writeFile(at('evil/config.json'), JSON.stringify({ ...config, activation_function: EVIL }));
    await writeFile(at('evil/model.safetensors'), await readFile(at('model/model.safetensors')));
    await writeFile(at('tokenizer.json'), JSON.stringify({ model: { type: EVIL } }));
    await writeFile(at('rows.jsonl'), `${JSON.stringify({ [EVIL]: 1 })}\n`);
    await writeFile(at('text.txt'), 'the cat sat on the mat. '.repeat(20));
    const run = {
      model: { type: 'gpt2', vocabSize: 256 },
      data: { text: 'text.txt' },
      training: { maxSteps: 9 },
    };
    await writeFile(at('run.json'), JSON.stringify(run));
    await writeFile(at('wrong.json'), JSON.stringify({ ...run, [EVIL]: EVIL }));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each<[string, (folder: (name: string) => string) => string[]]>([
    ['a value of config.json', (file) => ['sample', file('evil'), '--prompt', 'a']],
    ['a key of a configuration', (file) => ['plan', file('wrong.json')]],
    [
      'a tokenizer.json',
      (file) => ['prepare', file('text.txt'), '--output', file('out'), '--tokenizer', file('tokenizer.json')],
    ],
    ['JSON lines', (file) => ['prepare', file('rows.jsonl'), '--output', file('out')]],
    ['a file name', (file) => ['eval', file('model'), file(EVIL)]],
    ['a folder', () => ['sample', EVIL]],
    ['an option', () => [`--${EVIL}`]],
    ['a command', () => [EVIL]],
    ['a choice', (file) => ['export', file('model'), file('out'), '--dtype', EVIL]],
    ['what is written', (file) => ['export', file('model'), file(`out${EVIL}`)]],
    ['what is prepared', (file) => ['prepare', file('text.txt'), '--output', file(`prepared${EVIL}`)]],
    ['a picture', (file) => ['schedule', file('run.json'), '--svg', file(`picture${EVIL}.svg`)]],
    ['a plan', (file) => ['plan', file('run.json')]],
    ['help about an unknown command', () => ['help', EVIL]],
  ])('sends the terminal no control characters of %s', async (_, command) => {
    const names = command(at);
    const { out, err } = await tesserae(...names);
    expect(out + err).not.toBe('');
    expect(out + err).toBe(safeText(out + err));
  });

  it('writes JSON whose values are exact, in ASCII where they are control characters', async () => {
    const { err } = await tesserae('sample', at('evil'), '--json');
    expect(err).toBe(safeText(err));
    const [error] = records(err);
    expect(error).toMatchObject({ type: 'error', message: expect.stringContaining(EVIL) as string });
  });

  it('filters what a run warns of', async () => {
    const written: string[] = [];
    const spy = jest
      .spyOn(process.stderr, 'write')
      .mockImplementation((text) => written.push(String(text)) > 0);
    try {
      for (const progress of [true, false]) {
        const report = await RunReport.create({ directory: at('report'), maxSteps: 1, progress });
        report.add({ type: 'warning', step: 1, message: EVIL });
        report.log(EVIL);
        await report.close();
      }
      print(`${EVIL}\n`, process.stderr);
    } finally {
      spy.mockRestore();
    }
    const text = written.join('').replaceAll('\u001B[31m', '');
    expect(text).toContain('\uFFFD]0;title');
    expect(text).toBe(safeText(text));
  });
});
