import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { lockRun } from '../../../lib/checkpoint/run_lock';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-lock-'));
});
afterEach(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

const BUILT = path.resolve(__dirname, '../../../dist/checkpoint/run_lock.js');
/** Locks the folder, tells whether it could, and stays. */
const program = (tell: string): string => `
  const { lockRun } = require(${JSON.stringify(BUILT)});
  const tell = ${tell};
  lockRun(${JSON.stringify(folder)}, {}).then(() => tell('locked'), (error) => tell(error.code));
  setInterval(() => undefined, 1000);`;

const trainer = async (): Promise<Trainer> =>
  new Trainer(await tinyModel(), {
    arguments: { maxSteps: 4, batchSize: 2, saveSteps: 2, loggingSteps: 1, outputDir: folder },
    train: countingDataset(),
  });

describe('lockRun', () => {
  it('refuses another owner until the first is done, and lets the same in again', async () => {
    const [first, second] = [{}, {}];
    const one = await lockRun(folder, first);
    const again = await lockRun(folder, first);
    const { message, details } = await failureOf('ERR_CONFIG', () => lockRun(folder, second));
    expect(message).toMatch(
      /^another trainer is training into outputDir '.*': wait for it, or choose another/,
    );
    expect(details).toEqual({ path: 'outputDir', directory: folder });
    one[Symbol.dispose]();
    one[Symbol.dispose](); // counts once
    await failureOf('ERR_CONFIG', () => lockRun(folder, second));
    again[Symbol.dispose]();
    (await lockRun(folder, second))[Symbol.dispose]();
  });

  it('locks the folder itself, whatever it is called', async () => {
    using _lock = await lockRun(folder, {});
    await failureOf('ERR_CONFIG', () => lockRun(path.relative('', folder), {}));
  });

  it('needs no folder, and makes none', async () => {
    const none = path.join(folder, 'none');
    (await lockRun(none, {}))[Symbol.dispose]();
    (await lockRun(none, {}))[Symbol.dispose]();
  });

  it('refuses another thread, and is free when that was terminated', async () => {
    const worker = new Worker(
      program("(text) => require('node:worker_threads').parentPort.postMessage(text)"),
      {
        eval: true,
      },
    );
    expect(await once(worker, 'message')).toEqual(['locked']);
    const { message } = await failureOf('ERR_CONFIG', () => lockRun(folder, {}));
    expect(message).toMatch(/another process is training into/);
    await worker.terminate();
    (await lockRun(folder, {}))[Symbol.dispose]();
  });

  it('refuses a forked process, and is free when that was killed', async () => {
    const file = path.join(folder, 'child.cjs');
    await writeFile(file, program('(text) => process.send(text)'));
    const child = fork(file, { execArgv: [] });
    expect((await once(child, 'message'))[0]).toBe('locked');
    await failureOf('ERR_CONFIG', () => lockRun(folder, {}));
    child.kill('SIGKILL');
    await once(child, 'close');
    (await lockRun(folder, {}))[Symbol.dispose]();
  });

  it('is not shared by the processes of a cluster', async () => {
    const cluster = `
      const cluster = require('node:cluster');
      if (cluster.isPrimary) {
        const answers = [];
        const told = (text) => {
          if (answers.push(text) < 2) return;
          console.log(answers.sort().join());
          for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
          process.exit();
        };
        for (let i = 0; i < 2; i++) cluster.fork().on('message', told);
      } else { ${program('(text) => process.send(text)')} }`;
    const file = path.join(folder, 'cluster.cjs');
    await writeFile(file, cluster);
    const { stdout } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
    expect(stdout).toBe('ERR_CONFIG,locked\n');
  });
});

describe('a Trainer with an outputDir', () => {
  it('refuses other trainers while its run is in progress, also from its calls', async () => {
    const [one, other] = [await trainer(), await trainer()];
    for await (const event of one) {
      if (event.step < 3) continue;
      await failureOf('ERR_CONFIG', () => other.train());
      await failureOf('ERR_CONFIG', () => other.resume());
      await failureOf('ERR_CONFIG', () => other.save());
      expect(other.globalStep).toBe(0);
      await one.save(path.join(folder, 'mine'));
      break;
    }
    expect((await other.resume()).step).toBe(2);
    expect((await other.train()).step).toBe(4);
  });

  it('lets it in when a run has failed', async () => {
    const broken = await trainer();
    await expect(async () => {
      for await (const event of broken) throw new Error(event.type);
    }).rejects.toThrow('step');
    expect((await (await trainer()).train()).step).toBe(4);
  });
});
