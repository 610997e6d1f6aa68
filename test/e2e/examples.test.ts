import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  allowedTokens,
  END,
  LENGTH,
  parsePlan,
  tokenizer,
  tokenMask,
} from '../../examples/structured/language.mjs';
import { tokensOf } from '../../examples/structured/language.mjs';
import { makePlan, tiles } from '../../examples/structured/plans.mjs';
import { tinyTokenizer } from '../unit/support/tokenizer';

const EXAMPLES = path.resolve(__dirname, '../../examples');
const PROGRAM = path.resolve(__dirname, '../../dist/cli/main.js');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'example-'));
  writeFileSync(
    path.join(folder, 'own.txt'),
    'the cat sat on the mat and the dog lay on the log.\n'.repeat(60),
  );
});
afterEach(() => rmSync(folder, { recursive: true }));

const environment = (steps: number) => ({
  ...process.env,
  TESSERAE_DEMO_STEPS: String(steps),
});

/** Runs a program in the folder. */
function node(program: string, args: readonly string[], steps = 1) {
  const options = { encoding: 'utf8', cwd: folder, env: environment(steps) } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], options);
  return { code: status, out: stdout, err: stderr };
}

const programOf = (name: string): string => path.join(EXAMPLES, name, 'main.mjs');
const run = (name: string, steps: number, ...args: string[]) => node(programOf(name), args, steps);

const written = (...names: string[]): string => readFileSync(path.join(folder, 'runs', ...names), 'utf8');

/** What is wrong with the tags of an XML text. */
function faultOf(xml: string): string | undefined {
  const open: string[] = [];
  const rest = xml.replace(
    /<(\/?)(\w+)((?:\s+[\w-]+="[^"<]*")*)\s*(\/?)>/g,
    (tag, close, name: string, _, empty) => {
      if (!close && !empty) open.push(name);
      return close && open.pop() !== name ? '<' : '';
    },
  );
  const stray = /[<>]|&(?!(?:amp|lt|gt|quot|apos);)/.exec(rest);
  if (stray) return `stray ${stray[0]}`;
  return open.length > 0 ? `<${open.join('><')}> is not closed` : undefined;
}

/** One line with a code, and no stack. */
const failure = (code: string, words: RegExp) => ({
  code: 1,
  err: expect.stringMatching(new RegExp(`^${code}: [^\\n]*${words.source}[^\\n]*\\n$`)) as string,
});

it.each(['text', 'structured', 'finetune'])('%s ends when its reader has seen enough', async (name) => {
  const options = { cwd: folder, env: environment(1) };
  const child = spawn(process.execPath, [programOf(name)], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdout.once('data', () => child.stdout.destroy());
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(err).not.toContain('Error');
});

describe('text', () => {
  it('trains on your own text, measures and writes; continues where Ctrl-C stopped it', async () => {
    const first = run('text', 20, 'own.txt');
    expect(first).toMatchObject({ code: 0 });
    const [, nats, bits] = /validation loss +([\d.]+) nats or ([\d.]+) bits a byte/.exec(first.out) ?? [];
    // Both are rounded to three decimals.
    expect(Math.abs(Number(nats) / Math.LN2 - Number(bits))).toBeLessThan(0.0005 / Math.LN2 + 0.0005);
    // 51 bytes that repeat: the entropy of a byte is far below that of 256 equally likely ones, and falls with context.
    const counted = [...first.out.matchAll(/would give +([\d.]+) nats/g)].map(([, loss]) => Number(loss));
    expect(counted).toHaveLength(3);
    expect([Math.log(256), ...counted]).toEqual([Math.log(256), ...counted].sort((a, b) => b - a));
    expect(first.out.split('\n---\n')).toHaveLength(3);
    expect(faultOf(written('text', 'loss.svg'))).toBeUndefined();
    expect(existsSync(path.join(folder, 'runs/text/checkpoint-20/manifest.json'))).toBe(true);

    rmSync(path.join(folder, 'runs'), { recursive: true });
    const args = [programOf('text'), 'own.txt'];
    const stopped = spawn(process.execPath, args, { stdio: 'ignore', cwd: folder, env: environment(20) });
    const ended = once(stopped, 'exit');
    const metrics = path.join(folder, 'runs/text/metrics.jsonl');
    while (
      stopped.exitCode === null &&
      !(existsSync(metrics) && readFileSync(metrics, 'utf8').includes('"step":10'))
    )
      await setTimeout(20);
    stopped.kill('SIGINT');
    expect(await ended).toEqual([0, null]);
    expect(existsSync(path.join(folder, 'runs/text/checkpoint-20'))).toBe(false);
    const resumed = run('text', 20, 'own.txt', '--resume');
    expect(resumed).toMatchObject({ code: 0 });
    // Bit for bit what a run without interruption gives.
    expect(resumed.out).toContain(`validation loss          ${nats} nats`);
  });

  it('says what is wrong in one line', () => {
    expect(run('text', 1, 'none.txt')).toMatchObject(failure('ERR_DATA', /'none\.txt'/));
    expect(run('text', 1, 'own.txt', '--resume')).toMatchObject(failure('ERR_CHECKPOINT', /runs\/text/));
    expect(run('text', 1, '--nonsense')).toMatchObject(
      failure('ERR_PARSE_ARGS_UNKNOWN_OPTION', /--nonsense/),
    );
  });
});

describe('structured', () => {
  const plan = makePlan(7);
  const tokens = tokensOf(plan);
  const changed = (at: number, word: string): number[] => tokens.with(at, tokenizer.encode(word)[0]!);

  it('has a parser that accepts plans, and nothing else', () => {
    for (let seed = 0; seed < 200; seed++) {
      const rooms = makePlan(seed);
      expect(parsePlan(tokensOf(rooms))).toEqual(rooms);
      expect(tiles(rooms)).toBe(true);
    }
    expect(parsePlan(tokens.slice(0, -1))).toBeUndefined();
    expect(parsePlan(tokens.slice(0, -2).concat(END))).toBeUndefined();
    expect(parsePlan([tokens[0]!, END])).toBeUndefined();
    expect(parsePlan(changed(1, '3'))).toBeUndefined();
    expect(parsePlan(changed(2, 'bath'))).toBeUndefined();
    expect(parsePlan(changed(4, '0'))).toBeUndefined();
    expect(parsePlan(changed(2, '16'))).toBeUndefined(); // nothing fits right of it
    expect(tiles([...plan, plan[0]!])).toBe(false);
    expect(tiles(plan.slice(1))).toBe(false);
  });

  it('masks tokens that the parser would refuse, and no others', () => {
    const allowed = (before: number[]): Set<number> => {
      const [bits = 0] = tokenMask([{ prompt: 0, sequence: 0, tokens: before }]);
      return new Set(allowedTokens.get(before.length)?.filter((token) => bits & (1 << token)));
    };
    const one = tokenizer.encode('1')[0]!;
    const wrong: unknown[] = [];
    for (let seed = 0; seed < 20; seed++) {
      const tokens = tokensOf(makePlan(seed));
      for (let at = 1; at < tokens.length; at++)
        for (let token = 0; token < tokenizer.vocabSize; token++) {
          // The rest of the room is the smallest there is, so that the parser judges this token alone.
          const missing = token === END ? [] : [...Array<number>(4 - ((at - 1) % 5)).fill(one), END];
          const before = tokens.slice(0, at);
          const parses = parsePlan([...before, token, ...missing]) !== undefined;
          if (allowed(before).has(token) !== parses) wrong.push({ seed, at, token, parses });
        }
    }
    expect(wrong).toEqual([]);
    expect([...allowed(Array<number>(LENGTH - 1).fill(0))]).toEqual([END]);
  });

  it('draws plans that parse, always with masks and seldom without', () => {
    const { code, out, err } = run('structured', 10);
    expect({ code, err }).toMatchObject({ code: 0 });
    const [head, ...rows] = out
      .split('\n')
      .slice(1, 7)
      .map((line) => line.trim().split(/ {2,}/));
    expect(head).toEqual(['temperature', 'parse', 'parse, masked', 'tile', 'tile, masked']);
    expect(rows.map(([temperature]) => Number(temperature))).toEqual([0.5, 0.8, 1, 1.3, 1.6]);
    for (const [, without, masked] of rows) {
      expect(masked).toBe('100.0 %');
      // Ten steps teach some of the grammar at most.
      expect(parseFloat(without ?? '')).toBeLessThan(90);
    }
    const samples = written('structured', 'samples.svg');
    for (const picture of [samples, written('structured', 'rates.svg')])
      expect(faultOf(picture)).toBeUndefined();
    expect(samples.match(/<g /g)).toHaveLength(60);
  });

  it('says what is wrong in one line', () => {
    expect(run('structured', -3)).toMatchObject(failure('ERR_CONFIG', /maxSteps .* not -3/));
  });
});

describe('finetune', () => {
  it('learns the new text', () => {
    const { code, out, err } = run('finetune', 5);
    expect({ code, err }).toMatchObject({ code: 0 });
    const losses = new Map(
      [...out.matchAll(/^(before|fine-tuned|from nothing) +([\d.]+) +([\d.]+)$/gm)].map(
        ([, name, newText, oldText]) => [name, [Number(newText), Number(oldText)]] as const,
      ),
    );
    const [before = [], tuned = [], fresh = []] = ['before', 'fine-tuned', 'from nothing'].map((name) =>
      losses.get(name),
    );
    expect(tuned[0]).toBeLessThan(before[0]!);
    expect(tuned[0]).toBeLessThan(fresh[0]!);
    expect(faultOf(written('finetune', 'tuned', 'loss.svg'))).toBeUndefined();
    expect(readdirSync(path.join(folder, 'runs/finetune/pretrained')).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
    ]);

    // Again from the folder that it made, on a text of your own.
    const own = run('finetune', 5, 'runs/finetune/pretrained', 'own.txt');
    expect(own).toMatchObject({ code: 0 });
    expect(own.out).toMatch(/^loss on the {2}new text\nbefore +[\d.]+\nfine-tuned +[\d.]+\n/);
    expect(run('finetune', 5, 'runs/finetune/pretrained', 'none.txt')).toMatchObject(
      failure('ERR_DATA', /'none\.txt'/),
    );
  });

  it('takes a model with a tokenizer.json, and token files', () => {
    writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(tinyTokenizer()));
    const model = { type: 'gpt2', nPositions: 16, nEmbd: 16, nLayer: 1, nHead: 2 };
    const settings = { model, data: { tokens: 'data' }, training: { maxSteps: 1 } };
    writeFileSync(path.join(folder, 'base.json'), JSON.stringify(settings));
    const prepared = node(PROGRAM, [
      'prepare',
      'own.txt',
      '--output',
      'data',
      '--tokenizer',
      'tokenizer.json',
    ]);
    expect(prepared).toMatchObject({ code: 0 });
    expect(node(PROGRAM, ['train', 'base.json'])).toMatchObject({ code: 0 });

    const { code, out, err } = run('finetune', 5, 'runs/base', 'data', 'data');
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(out).toMatch(/^before +([\d.]+) +\1$/m); // one text, twice
    expect(existsSync(path.join(folder, 'runs/finetune/tuned/checkpoint-5/tokenizer.json'))).toBe(true);
  });

  it('says what is wrong in one line', () => {
    expect(run('finetune', 5, 'none')).toMatchObject(failure('ERR_CHECKPOINT', /'none'/));
  });
});
