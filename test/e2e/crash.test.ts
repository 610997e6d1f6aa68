import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { command, left, records, tinyRun, type Event } from './support/tiny_run';

/** How often a run is killed; more finds rarer moments. */
const KILLS = Number(process.env['TESSERAE_CRASHES'] ?? 200);
/** Steps left for each process before it is killed: about as many as it can do. */
const MAX_STEPS = 10 * KILLS;

let folder: string;
beforeAll(() => {
  folder = tinyRun({ maxSteps: MAX_STEPS, saveSteps: 1, saveTotalLimit: 2 }, { whole: { saveSteps: 0 } });
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Trains until the process is killed, a number of milliseconds after its start or its first line. */
async function killed(
  output: string,
  since: 'start' | 'first line',
  delay: number,
): Promise<{ events: Event[]; err: string; done: boolean }> {
  const child = spawn(process.execPath, command(output), {
    cwd: folder,
    env: process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  const kill = (): void => void setTimeout(() => child.kill('SIGKILL'), delay);
  if (since === 'start') kill();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (out === '' && since === 'first line') kill();
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (signal !== 'SIGKILL' && code !== 0) throw new Error(`exit code ${String(code)}: ${err}`);
  return { events: records(out), err, done: code === 0 };
}

it(
  `a run that is killed ${KILLS} times loses no checkpoint and ends in the same bits`,
  async () => {
    const moments: string[] = [];
    let [kills, saved, resumed] = [0, 0, 0];
    while (kills < KILLS) {
      const since = Math.random() < 0.3 ? 'start' : 'first line';
      const delay = Math.random() * (since === 'start' ? 600 : 120);
      moments.push(`${delay.toFixed(1)} ms after its ${since}`);
      const { events, err, done } = await killed('killed', since, delay);
      if (done) break;
      kills++;
      const at = { killed: moments };
      expect({ ...at, err }).toEqual({ ...at, err: '' });
      const from = events.find(({ type }) => type === 'resume');
      if (from) resumed++;
      // What was reported as saved is there at the next start.
      if (events.length > 0) {
        const step = Number(from?.['step'] ?? 0);
        expect({ ...at, kept: step >= saved }).toEqual({ ...at, kept: true });
      }
      saved = Math.max(
        saved,
        ...events.filter(({ type }) => type === 'save').map(({ step }) => Number(step)),
      );
    }
    // Otherwise nothing was tried.
    expect(resumed).toBeGreaterThan(0);
    expect(kills).toBeGreaterThanOrEqual(KILLS / 2);
    // What they print of thousands of steps is more than spawnSync takes.
    for (const args of [command('killed'), command('whole', 'whole.json')])
      expect(
        spawnSync(process.execPath, args, {
          cwd: folder,
          env: process.env,
          encoding: 'utf8',
          stdio: ['ignore', 'ignore', 'pipe'],
        }),
      ).toMatchObject({ status: 0, stderr: '' });
    expect(left(folder, 'killed', MAX_STEPS)).toEqual(left(folder, 'whole', MAX_STEPS));
    // The newest two, perhaps the best besides, and nothing that a crash left.
    const checkpoints = readdirSync(path.join(folder, 'killed')).filter((name) =>
      name.startsWith('checkpoint'),
    );
    expect(checkpoints).toEqual(
      expect.arrayContaining([`checkpoint-${MAX_STEPS}`, `checkpoint-${MAX_STEPS - 1}`]),
    );
    expect(checkpoints.length).toBeLessThanOrEqual(3);
  },
  60_000 + 5_000 * KILLS,
);
