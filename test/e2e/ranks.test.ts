/** Ranks of several threads and of processes that end. Each test has its own process: a hang is a failed test. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const library = JSON.stringify(path.resolve(__dirname, '../../dist/index.js'));

const setUp = `
  const { Model, Trainer } = require(${library});
  const { Worker } = require('node:worker_threads');
  async function trainer(nEmbd, devices = ['cpu:0', 'cpu:1']) {
    const shape = { vocabSize: 64, nPositions: 32, nEmbd, nLayer: 2, nHead: 2 };
    const model = await Model.create({ type: 'gpt2', ...shape }, { devices, threads: 1 });
    return new Trainer(model, { arguments: { maxSteps: 1000, learningRate: 1e-3 } });
  }
  const row = Array.from({ length: 32 }, (_, i) => i);
  const batch = { tokens: [row, row, row, row] };`;

function run(script: string): {
  status: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
} {
  const whole = `${setUp}
    (async () => { ${script} })().catch((error) => { console.error(error); process.exit(1); });`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['-e', whole], {
    ...{ encoding: 'utf8', timeout: 30_000 },
  });
  return { status, signal, stdout, stderr };
}

/** Starts a worker that calls \`tell\` with its result. */
const worker = (body: string): string =>
  `new Worker(${JSON.stringify(`${setUp}
    const tell = (result) => require('node:worker_threads').parentPort.postMessage(result);
    (async () => { ${body} })();`)}, { eval: true })`;

it('models of four threads train on the same ranks at once, each as if it were alone', () => {
  const { stdout, ...rest } = run(`
    const work = () => new Promise((resolve, reject) => {
      const thread = ${worker(`
        const one = await trainer(32);
        let loss;
        for (let i = 0; i < 10; i++) [, { loss }] = await Promise.all([one.step(batch), one.step(batch)]);
        one.model.dispose();
        tell(loss);`)};
      thread.on('message', resolve).on('error', reject);
    });
    const alone = await work();
    console.log(JSON.stringify([alone, ...(await Promise.all([work(), work(), work(), work()]))]));`);
  expect(rest).toEqual({ status: 0, signal: null, stderr: '' });
  const losses = JSON.parse(stdout) as number[];
  expect(losses).toEqual(Array(5).fill(losses[0]));
});

it('a thread that is terminated in the middle of a step leaves the ranks to others', () => {
  const { stdout, ...rest } = run(`
    const start = (devices) => new Promise((resolve) => {
      const thread = ${worker(`
        const one = await trainer(256, require('node:worker_threads').workerData);
        tell('ready');
        for (;;) await Promise.all([one.step(batch), one.step(batch)]);`).replace(
        '{ eval: true }',
        '{ eval: true, workerData: devices }',
      )};
      thread.once('message', () => resolve(thread));
    });
    // In both orders: some jobs of a step are dropped while others wait for them.
    const threads = await Promise.all([['cpu:0', 'cpu:1'], ['cpu:1', 'cpu:0'], ['cpu:1', 'cpu:2', 'cpu:0']].map(start));
    const one = await trainer(32);
    for (const thread of threads) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      await thread.terminate();
      await one.step(batch);
    }
    console.log((await one.step(batch)).step);`);
  expect({ stdout, ...rest }).toEqual({ status: 0, signal: null, stderr: '', stdout: '4\n' });
});

test.each([
  ['process.exit', 'process.exit(7)', 7],
  ['an error that nobody catches', "throw new Error('mine')", 1],
])('%s in the middle of a step of ranks ends the process with its code', (_, ending, status) => {
  for (let i = 0; i < 4; i++)
    expect(
      run(`
        const one = await trainer(256, ['cpu:0', 'cpu:1', 'cpu:2']);
        await one.step(batch);
        setTimeout(() => { ${ending} }, ${20 + 7 * i});
        for (;;) await Promise.all([one.step(batch), one.step(batch)]);`),
    ).toMatchObject({ status, signal: null });
});
