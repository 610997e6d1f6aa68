/** A folder with a text and a configuration, in which commands run in processes of their own. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

// What is compared here was computed on the CPU, whatever else the machine has.
export const ON_CPU = { ...process.env, CUDA_VISIBLE_DEVICES: '' };
export const PROGRAM = path.resolve(__dirname, '../../../dist/cli/main.js');

/** Its real name, which programs that run there show in paths: the folder of temporary files may be a link. */
export const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'cli-')));
afterAll(() => rmSync(folder, { recursive: true }));

export function write(name: string, content: unknown): string {
  const file = path.join(folder, name);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

write('book.txt', 'the cat sat on the mat and the dog lay on the log. '.repeat(40));

/** Trains into runs/run. */
export const config = write('run.json', {
  model: { type: 'gpt2', nPositions: 32, nEmbd: 32, nLayer: 2, nHead: 2, residPdrop: 0, attnPdrop: 0 },
  data: { text: 'book.txt' },
  training: {
    maxSteps: 5,
    batchSize: 4,
    learningRate: 1e-3,
    loggingSteps: 1,
    evalSteps: 2,
    evalBatches: 2,
    seed: 3,
  },
  sampling: { prompt: 'the ', maxNewTokens: 20 },
});

export function tesserae(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
    encoding: 'utf8',
    env: ON_CPU,
    cwd: folder,
  });
  return { code: status, out: stdout, err: stderr };
}

/** Training by `config`, which most of the tests start from. */
export const trained = (): ReturnType<typeof tesserae> =>
  tesserae('train', config, '--device', 'cpu', '--threads', '1');

/** The lines of a JSON-lines text. */
export const records = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
