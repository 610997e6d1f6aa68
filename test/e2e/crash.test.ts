import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** How often a run is killed; more finds rarer moments. */
const KILLS = Number(process.env['TESSERAE_CRASHES'] ?? 10);
const PROGRAM = path.resolve(__dirname, '../../dist/cli/main.js');
/** Steps that a process may do before it is killed, about: so many are left for each. */
const MAX_STEPS = 20 * KILLS;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'crash-'));
  writeFileSync(
    path.join(folder, 'book.txt'),
    'the cat sat on the mat and the dog lay on the log. '.repeat(40),
  );
  writeFileSync(
    path.join(folder, 'run.json'),
    JSON.stringify({
      model: {
        type: 'gpt2',
        nPositions: 16,
        nEmbd: 16,
        nLayer: 1,
        nHead: 2,
        residPdrop: 0.1,
        attnPdrop: 0.1,
      },
      data: { text: 'book.txt' },
      training: {
        maxSteps: MAX_STEPS,
        batchSize: 2,
        gradientAccumulationSteps: 2,
        learningRate: 1e-2,
        warmupSteps: 5,
        loggingSteps: 3,
        evalSteps: 10,
        evalBatches: 2,
        saveSteps: 1,
        saveTotalLimit: 2,
      },
    }),
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const command = (output: string): string[] => [
  ...[PROGRAM, 'train', 'run.json', '--json', '--device', 'cpu', '--threads', '1', '--output-dir', output],
];

type Event = Record<string, unknown>;

/** Lines of JSON; one that is not whole is left out. */
const records = (text: string): Event[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Event);

/** Trains until the process is killed, so many milliseconds after its start or after its first line. */
async function killed(
  output: string,
  since: 'start' | 'first line',
  delay: number,
): Promise<{ events: Event[]; err: string; done: boolean }> {
  const child = spawn(process.execPath, command(output), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
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

/** What a run leaves, but for times and the name of its folder. */
function left(output: string): unknown {
  const last = path.join(folder, output, `checkpoint-${MAX_STEPS}`);
  const { saved: _, ...manifest } = JSON.parse(readFileSync(path.join(last, 'manifest.json'), 'utf8')) as {
    saved: string;
    files: Record<string, unknown>;
  };
  const { arguments: given, ...state } = JSON.parse(
    readFileSync(path.join(last, 'trainer_state.json'), 'utf8'),
  ) as { arguments: object };
  const { 'trainer_state.json': __, ...files } = manifest.files;
  const timed = ['path', 'checkpoint', 'seconds', 'loss', 'tokens_per_second', 'eta_seconds'];
  return {
    files,
    state,
    arguments: { ...given, outputDir: '' },
    metrics: records(readFileSync(path.join(folder, output, 'metrics.jsonl'), 'utf8')).map((event) =>
      Object.fromEntries(
        // The end tells the loss of its own process's last report.
        Object.entries(event).filter(
          ([name]) => !timed.includes(name) || (name === 'loss' && event['type'] !== 'end'),
        ),
      ),
    ),
    folders: readdirSync(path.join(folder, output)).sort(),
  };
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
    for (const output of ['killed', 'whole'])
      expect(spawnSync(process.execPath, command(output), { cwd: folder, encoding: 'utf8' })).toMatchObject({
        status: 0,
        stderr: '',
      });
    expect(left('killed')).toEqual(left('whole'));
  },
  60_000 + 5_000 * KILLS,
);
