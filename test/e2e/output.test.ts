import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { command, records, tinyRun } from './support/tiny_run';

/** Linux's disk that is always full. */
const FULL = '/dev/full';

let folder: string;
beforeAll(() => {
  folder = tinyRun({ maxSteps: 60, loggingSteps: 1 });
});
afterAll(() => rmSync(folder, { recursive: true }));

const metrics = (output: string): string[] =>
  records(readFileSync(path.join(folder, output, 'metrics.jsonl'), 'utf8')).map(
    ({ type, step }) => `${String(type)} ${String(step)}`,
  );

/** A command whose reader of one stream, or of both, stops at the first line. */
async function leftAlone(
  args: readonly string[],
  ...streams: readonly ('stdout' | 'stderr')[]
): Promise<{ code: number | null; err: string }> {
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  for (const stream of streams) child[stream].once('data', () => child[stream].destroy());
  if (!streams.includes('stdout')) child.stdout.resume();
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, err };
}

it('training continues when the reader of standard output is gone', async () => {
  expect(await leftAlone(command('json'), 'stdout')).toEqual({ code: 0, err: '' });
  expect(metrics('json')).toEqual(expect.arrayContaining(['step 60', 'save 60', 'end 60']));
});

it.each([{ streams: ['stderr'] }, { streams: ['stdout', 'stderr'] }] as const)(
  'training goes on when nobody reads its display any more: $streams',
  async ({ streams }) => {
    const output = streams.join('-');
    const args = command(output).filter((arg) => arg !== '--json');
    expect(await leftAlone(args, ...streams)).toMatchObject({ code: 0 });
    expect(metrics(output)).toEqual(expect.arrayContaining(['step 60', 'save 60', 'end 60']));
  },
);

it('another command ends when the reader of its results has gone', async () => {
  const [program = ''] = command('');
  const args = [program, 'schedule', 'run.json', '--json'];
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const [code] = (await once(child, 'close')) as [number | null];
  expect({ code, err }).toEqual({ code: 0, err: '' });
});

const onFullDisk = (...args: string[]): { status: number | null; stderr: string } => {
  const full = openSync(FULL, 'w');
  const { status, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', full, 'pipe'],
    env: process.env,
  });
  closeSync(full);
  return { status, stderr };
};

it('a full disk for standard output is reported once, and training continues to its end', () => {
  const { status, stderr } = onFullDisk(...command('full'));
  expect(status).toBe(0);
  expect(stderr.trimEnd()).not.toContain('\n');
  expect(JSON.parse(stderr)).toMatchObject({
    type: 'error',
    code: 'ERR_CONFIG',
    message: expect.stringMatching(/^standard output can't be written: ENOSPC.* metrics\.jsonl/) as string,
  });
  expect(metrics('full')).toEqual(expect.arrayContaining(['step 60', 'save 60', 'end 60']));
});

it('a full disk for standard output ends another command, and is reported', () => {
  const [program = ''] = command('');
  expect(onFullDisk(program, 'schedule', 'run.json')).toEqual({
    status: 1,
    stderr: expect.stringMatching(
      /^error ERR_CONFIG: standard output can't be written: ENOSPC.*\n$/,
    ) as string,
  });
});
