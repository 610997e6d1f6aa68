import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { command, left, records, tinyRun, type Event } from './support/tiny_run';

const MAX_STEPS = 400;

type Left = { tensors: unknown; state: unknown };
const leftBy = (output: string): Left => left(folder, output, MAX_STEPS) as Left;

let folder: string;
let whole: Left;
beforeAll(() => {
  folder = tinyRun({ maxSteps: MAX_STEPS, saveSteps: 50, saveTotalLimit: 1 });
  expect(spawnSync(process.execPath, command('whole'), { cwd: folder }).status).toBe(0);
  whole = leftBy('whole');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Trains, and sends signals after given numbers of lines of standard output. */
async function signalled(
  output: string,
  lines: number,
  ...signals: NodeJS.Signals[]
): Promise<{ code: number | null; events: Event[]; err: string }> {
  const child = spawn(process.execPath, command(output), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (records(out).length >= lines) for (const signal of signals.splice(0)) child.kill(signal);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, events: records(out), err };
}

it.each(['SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP'] as const)(
  '%s saves and stops; the same command goes on bit by bit',
  async (signal) => {
    const output = signal.toLowerCase();
    const { code, events, err } = await signalled(output, 3, signal);
    expect({ code, err }).toEqual({ code: 128 + constants.signals[signal], err: '' });
    const end = events.at(-1);
    expect(end).toMatchObject({ type: 'end', reason: 'stopped' });
    const step = Number(end?.['step']);
    expect(step).toBeLessThan(MAX_STEPS);
    expect(existsSync(path.join(folder, output, `checkpoint-${step}`, 'manifest.json'))).toBe(true);
    const again = spawnSync(process.execPath, command(output), { cwd: folder, encoding: 'utf8' });
    expect({ status: again.status, err: again.stderr }).toEqual({ status: 0, err: '' });
    expect(records(again.stdout)[0]).toMatchObject({ type: 'resume', step });
    const { tensors, state } = leftBy(output);
    expect({ tensors, state }).toEqual({ tensors: whole.tensors, state: whole.state });
  },
);

it('a scheduler may repeat SIGTERM while the run saves', async () => {
  const { code, events } = await signalled('repeated', 3, 'SIGTERM', 'SIGUSR1', 'SIGTERM');
  expect([138, 143]).toContain(code); // the system may hand them over in another order
  expect(events.at(-1)).toMatchObject({ type: 'end', reason: 'stopped' });
});

it('a second SIGINT stops at once, and loses only what was not saved', async () => {
  const child = spawn(process.execPath, command('twice'), {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (out === '') {
      child.kill('SIGINT');
      // Signals of one kind that come together are one.
      setTimeout(() => child.kill('SIGINT'), 1);
    }
    out += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code).toBe(130);
  const again = spawnSync(process.execPath, command('twice'), { cwd: folder, encoding: 'utf8' });
  expect({ status: again.status, err: again.stderr }).toEqual({ status: 0, err: '' });
  expect(readdirSync(path.join(folder, 'twice'))).toContain(`checkpoint-${MAX_STEPS}`);
});

/** util-linux's `script`, which Debian always has, gives a program a terminal. */
const hasTerminals = spawnSync('script', ['--version']).status === 0;
if (!hasTerminals) console.log("a terminal that is closed: not tested, there is no util-linux 'script'");
const atTerminal = hasTerminals ? it : it.skip;

/** Trains at a terminal that is closed at the first line of metrics; returns the exit code as a shell reports it. */
async function atClosedTerminal(output: string, isTold: boolean): Promise<number> {
  const has = (name: string): boolean => {
    const file = path.join(folder, name);
    return existsSync(file) && readFileSync(file, 'utf8').includes('\n');
  };
  const train = [process.execPath, ...command(output)].map((word) => `'${word}'`).join(' ');
  const told = `trap '' HUP; ${train}; echo $? > ${output}.code`;
  // The system signals only the first process of a terminal, and the others when that ends.
  const terminal = spawn('script', ['-qec', isTold ? `(${told}) & wait` : told, '/dev/null'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  while (terminal.exitCode === null && !has(`${output}/metrics.jsonl`)) await wait(10);
  terminal.kill('SIGKILL');
  while (!has(`${output}.code`)) await wait(10);
  return Number(readFileSync(path.join(folder, `${output}.code`), 'utf8'));
}

atTerminal('a terminal that is closed stops the run, which saves, and ends with 129', async () => {
  expect(await atClosedTerminal('hung-up', true)).toBe(129);
  const metrics = records(readFileSync(path.join(folder, 'hung-up/metrics.jsonl'), 'utf8'));
  expect(metrics.at(-1)).toMatchObject({ type: 'end', reason: 'stopped' });
});

atTerminal(
  'a run that nobody tells that its terminal is gone trains to its end, and ends with 0',
  async () => {
    expect(await atClosedTerminal('untold', false)).toBe(0);
    expect(leftBy('untold').tensors).toEqual(whole.tensors);
  },
);

/** A module that every thread loads first and that makes given file operations fail. */
const fullDisk = path.resolve(__dirname, 'support/full_disk.cjs');

const train = (output: string, fails: string): { code: number | null; out: Event[]; err: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-r', fullDisk, ...command(output)], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, FULL_DISK_FOR: fails },
  });
  return { code: status, out: records(stdout), err: stderr };
};

it('a disk that is full for a while costs a checkpoint, and is reported', () => {
  const { code, out, err } = train('once', 'checkpoint-100');
  expect(code).toBe(0);
  expect(err).toMatch(/^warning '.*checkpoint-100' can't be written|^warning '.*checkpoint-100\.tmp.*ENOSPC/);
  expect(err.trimEnd()).not.toContain('\n');
  expect(out).toContainEqual(expect.objectContaining({ type: 'warning', step: 100, code: 'ERR_CHECKPOINT' }));
  expect(out.filter(({ type }) => type === 'save').map(({ step }) => step)).not.toContain(100);
  expect(leftBy('once').tensors).toEqual(whole.tensors);
});

it('a disk that stays full ends the run, and the last checkpoint remains', () => {
  const { code, out, err } = train('full', 'checkpoint-100,checkpoint-150');
  expect(code).toBe(1);
  expect(err).toMatch(
    /"code":"ERR_CHECKPOINT","message":".*checkpoint-150.*ENOSPC.*free space.*The previous save failed too/,
  );
  expect(out.at(-1)).not.toMatchObject({ type: 'end' });
  expect(readdirSync(path.join(folder, 'full')).filter((name) => name.startsWith('checkpoint'))).toEqual([
    'checkpoint-50',
  ]);
  expect(train('full', '').out[0]).toMatchObject({ type: 'resume', step: 50 });
});
