/**
 * The addon in worker threads, and over long runs. Each test has its own process, so that a crash is a failed test and nothing
 * else uses memory.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const library = JSON.stringify(path.resolve(__dirname, '../../dist/index.js'));

const setUp = `
  const { Model, Trainer } = require(${library});
  async function trainer(nEmbd, steps) {
    const shape = { vocabSize: 64, nPositions: 32, nEmbd, nLayer: 2, nHead: 2 };
    const model = await Model.create({ type: 'gpt2', ...shape }, { device: 'cpu', threads: 1 });
    return new Trainer(model, { arguments: { maxSteps: steps, learningRate: 1e-3 } });
  }
  const row = Array.from({ length: 32 }, (_, i) => i);
  const batch = { tokens: [row, row, row, row] };`;

/** Runs a script with `setUp` before it; returns the JSON that it printed. */
function run(script: string, ...flags: string[]): unknown {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...flags,
      '-e',
      `${setUp}
      (async () => { ${script} })().catch((error) => { console.error(error); process.exit(1); });`,
    ],
    { encoding: 'utf8' },
  );
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  return JSON.parse(stdout);
}

const worker = (body: string): string =>
  JSON.stringify(`${setUp}
    const { parentPort } = require('node:worker_threads');
    (async () => { ${body} })();`);

it('four workers train at once, each as if it were alone', () => {
  const losses = run(`
    const { Worker } = require('node:worker_threads');
    const work = () => new Promise((resolve, reject) => {
      const thread = new Worker(${worker(`
        const one = await trainer(32, 10);
        let loss;
        for (let i = 0; i < 10; i++) ({ loss } = await one.step(batch));
        one.model.dispose();
        parentPort.postMessage(loss);`)}, { eval: true });
      thread.on('message', resolve).on('error', reject);
    });
    const alone = await work();
    console.log(JSON.stringify([alone, ...(await Promise.all([work(), work(), work(), work()]))]));`) as number[];
  expect(losses).toEqual(Array(5).fill(losses[0]));
  expect(losses[0]).toBeLessThan(Math.log(64));
});

it('workers that are terminated in the middle of a step leave the others alone', () => {
  const result = run(`
    const { Worker } = require('node:worker_threads');
    const start = () => new Promise((resolve) => {
      const thread = new Worker(${worker(`
        const one = await trainer(256, 1000);
        parentPort.postMessage('ready');
        for (;;) await one.step(batch);`)}, { eval: true });
      thread.once('message', () => resolve(thread));
    });
    const threads = await Promise.all([start(), start(), start(), start()]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await Promise.all(threads.map((thread) => thread.terminate()));
    const one = await trainer(32, 5);
    const first = (await one.step(batch)).loss;
    for (let i = 0; i < 3; i++) await one.step(batch);
    console.log(JSON.stringify((await one.step(batch)).loss < first));`);
  expect(result).toBe(true);
});

// Node.js aborts the process when a worker is terminated while it requires an ES module.
it('no program of the package requires an ES module', () => {
  const programs = readdirSync(path.dirname(JSON.parse(library) as string), {
    recursive: true,
    encoding: 'utf8',
  });
  const files = programs.filter((name) => name.endsWith('.js') && name !== 'cli/write_schema.js');
  expect(files).toContain('report/d3.js');
  const paths = files.map((name) => path.join(path.dirname(JSON.parse(library) as string), name));
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--no-experimental-require-module', '-e', `for (const file of ${JSON.stringify(paths)}) require(file);`],
    { encoding: 'utf8' },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

it('workers that are terminated while they load the library and make a model leave the process alone', () => {
  const ended = run(`
    const { Worker } = require('node:worker_threads');
    let ended = 0;
    for (let i = 0; i < 40; i++) {
      const begun = new Int32Array(new SharedArrayBuffer(4));
      const thread = new Worker(${JSON.stringify(
        `Atomics.store(require('node:worker_threads').workerData, 0, 1); ${setUp} trainer(32, 1);`,
      )}, { eval: true, workerData: begun });
      while (Atomics.load(begun, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      await new Promise((resolve) => setTimeout(resolve, (i * 37) % 200));
      await thread.terminate();
      ended++;
    }
    console.log(JSON.stringify(ended));`);
  expect(ended).toBe(40);
});

it.each([
  [
    'samples',
    `for (;;) await new Sampler(one.model, new ByteTokenizer()).generate('ab', { maxNewTokens: 100 });`,
  ],
  ['saves', `for (let i = 0; ; i++) await saveModel(one.model, folder + '/' + (i % 2));`],
  ['reads a text', `for (;;) await (await openText(folder + '/book.txt', { blockSize: 8 })).close();`],
])('a worker is terminated while it %s, and the process lives', (_, body) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'workers-'));
  try {
    writeFileSync(path.join(folder, 'book.txt'), 'the cat sat on the mat. '.repeat(2000));
    const program = `const { ByteTokenizer, openText, Sampler, saveModel } = require(${library});
      const { parentPort, workerData: folder } = require('node:worker_threads');
      ${setUp.replace('vocabSize: 64', 'vocabSize: 256')}
      (async () => {
        const one = await trainer(32, 1);
        parentPort.postMessage('ready');
        ${body}
      })();`;
    const ended = run(`
      const { Worker } = require('node:worker_threads');
      let ended = 0;
      for (let i = 0; i < 10; i++) {
        const thread = new Worker(${JSON.stringify(program)}, { eval: true, workerData: ${JSON.stringify(folder)} });
        await new Promise((resolve, reject) => thread.once('message', resolve).once('error', reject));
        await new Promise((resolve) => setTimeout(resolve, (i * 7) % 40));
        await thread.terminate();
        ended++;
      }
      console.log(JSON.stringify(ended));`);
    expect(ended).toBe(10);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('workers that alone have the addon are terminated in the middle of a step, one after the other', () => {
  const ended = run(`
    const { Worker } = require('node:worker_threads');
    const work = (delay) => new Promise((resolve, reject) => {
      const thread = new Worker(${worker(`
        const one = await trainer(64, 1_000_000);
        parentPort.postMessage('ready');
        for (;;) await one.step(batch);`)}, { eval: true });
      thread.on('message', () => setTimeout(() => thread.terminate(), delay)).on('error', reject).on('exit', resolve);
    });
    let ended = 0;
    for (let i = 0; i < 20; i++) {
      await work(5 + (i * 7) % 40);
      ended++;
    }
    console.log(JSON.stringify(ended));`);
  expect(ended).toBe(20);
});

it('fifty workers that load, train and end, one after the other, leave no memory behind', () => {
  const megabytes = run(
    `
    const { Worker } = require('node:worker_threads');
    const work = (i) => new Promise((resolve, reject) => {
      const thread = new Worker(${worker(`
        const one = await trainer(64, 1);
        await one.step(batch);
        if (require('node:worker_threads').workerData % 2 === 0) one.model.dispose();`)}, { eval: true, workerData: i });
      thread.on('exit', (code) => (code === 0 ? resolve() : reject(new Error('worker ' + i + ' ended with ' + code))));
    });
    const rss = [];
    for (let i = 0; i < 50; i++) {
      await work(i);
      globalThis.gc();
      rss.push(process.memoryUsage.rss() / 2 ** 20);
    }
    console.log(JSON.stringify(rss));`,
    '--expose-gc',
  ) as number[];
  // A model of this size with moments takes 2 MiB, a worker with the library about 20: a leak of either would be 60 MiB or
  // more over the last thirty; what is there is the allocator's.
  expect((megabytes[49] ?? NaN) - (megabytes[19] ?? NaN)).toBeLessThan(30);
}, 120_000);

it('memory is flat over ten thousand steps', () => {
  const megabytes = run(
    `
    const one = await trainer(32, 10_000);
    const rss = [];
    for (let i = 1; i <= 10_000; i++) {
      await one.step(batch);
      if (i % 1000 === 0) {
        globalThis.gc();
        rss.push(process.memoryUsage.rss() / 2 ** 20);
      }
    }
    console.log(JSON.stringify(rss));`,
    '--expose-gc',
  ) as number[];
  // A leak of 1 KiB a step would be 8 MiB.
  expect((megabytes[9] ?? NaN) - (megabytes[1] ?? NaN)).toBeLessThan(4);
}, 120_000);
