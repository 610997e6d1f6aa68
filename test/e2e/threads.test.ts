/** In a process that may start only a few threads, as in a small container, every call fails with an error that says so. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const PROGRAM = path.resolve(__dirname, '../../dist/cli/main.js');
// The system counts all threads of a user, also in other containers, so this is a user who runs nothing else. Only root, which
// has no limit, can switch to it.
const NOBODY = 1_000_000_000 + process.pid;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'threads-'));
  chmodSync(folder, 0o777);
  writeFileSync(path.join(folder, 'book.txt'), 'the cat sat on the mat. '.repeat(200));
  writeFileSync(
    path.join(folder, 'config.json'),
    JSON.stringify({
      data: { text: ['book.txt'] },
      model: { type: 'gpt2', vocabSize: 256, nPositions: 16, nEmbd: 16, nLayer: 1, nHead: 2 },
      training: { maxSteps: 2, batchSize: 2, outputDir: 'run' },
    }),
  );
});
afterEach(() => rmSync(folder, { recursive: true }));

const limited = (most: number, ...args: string[]) =>
  spawnSync('prlimit', [`--nproc=${most}`, process.execPath, ...args], {
    ...{ cwd: folder, uid: NOBODY, gid: NOBODY, encoding: 'utf8', timeout: 30_000 },
    env: { ...process.env, HOME: folder },
  });

const works = process.getuid?.() === 0 && limited(1000, PROGRAM, '--version').status === 0;
if (!works)
  console.log(
    'few threads: not tested, this user may not run prlimit, or Node.js and this folder, as another',
  );

(works ? it : it.skip)('says how many threads there may be', () => {
  const told = new Set<string>();
  // Node.js itself needs about ten, and aborts without them.
  for (let most = 10; most <= 30; most += 1) {
    const { status, signal, stderr } = limited(
      most,
      PROGRAM,
      'train',
      'config.json',
      '--threads',
      '8',
      '--device',
      'cpu',
    );
    if (!stderr.includes('ERR_') && (signal === 'SIGABRT' || status === 134)) continue;
    if (status === 0) told.add('trained');
    else {
      expect({ most, status, signal, stderr }).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/^error ERR_DEVICE: [^\n]* threads[^\n]*\n$/) as string,
      });
      told.add(/8 threads were requested/.test(stderr) ? 'few' : 'none');
    }
  }
  expect(told).toEqual(new Set(['none', 'few', 'trained']));
});
