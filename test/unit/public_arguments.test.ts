/** Wrong arguments from JavaScript to every public call: the error always has a code. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect, isDeepStrictEqual } from 'node:util';
import * as api from '../../lib';
import { countingDataset, disposeModels, TINY, tinyModel } from './support/tiny_model';

const OPTIONS = { device: 'cpu', threads: 1 } as const;
const FUNCTION = (): number => 1;
const PACKED = { capacity: { rows: 1, lengths: { time: 8 } }, rows: 1, inputs: {} };
const NONSENSE: readonly unknown[] = [
  ...[undefined, null, 3, NaN, '', true, {}, { nonsense: 1 }, [], [3], FUNCTION],
];

/** Values that fail when they are read, and values that look like something else. */
function hostile(): [name: string, value: unknown][] {
  const fail = (): never => {
    throw new RangeError('hostile');
  };
  const traps = { get: fail, has: fail, ownKeys: fail, getOwnPropertyDescriptor: fail, getPrototypeOf: fail };
  const revoked = Proxy.revocable([], {});
  revoked.revoke();
  const detached = new Int32Array(4);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const rejecting = Promise.reject(new Error('hostile'));
  rejecting.catch(() => undefined);
  const cycle: Record<string, unknown> = { type: 'gpt2' };
  cycle['self'] = cycle;
  const ring: unknown[] = [];
  ring.push(ring);
  return [
    ['a BigInt', 1n],
    ['a Symbol', Symbol('x')],
    ['BigInts', [1n, 2n]],
    ['Symbols', [Symbol('x')]],
    ['rows of BigInts', [[1n, 2n]]],
    ['rows of Symbols', [[Symbol('x')]]],
    ['a proxy that throws', new Proxy({}, traps)],
    ['a proxy of an array that throws', new Proxy([], traps)],
    ['a revoked proxy', revoked.proxy],
    ['a proxy of a function that throws', new Proxy(FUNCTION, traps)],
    ['an array whose element throws', Object.defineProperty([1, 2], 0, { get: fail, enumerable: true })],
    ['rows with one that throws', [[1], Object.defineProperty([1, 2], 0, { get: fail })]],
    ['an array whose length throws', new Proxy([1], { get: (_, key) => (key === 'length' ? fail() : 1) })],
    ['an object whose fields throw', new Proxy({ type: 'gpt2' }, { get: fail })],
    ['text that throws', { toString: fail, [Symbol.toPrimitive]: fail }],
    ['an object without prototype', Object.create(null)],
    ['a frozen object', Object.freeze({ nonsense: 1 })],
    ['a cyclic object', cycle],
    ['a cyclic array', ring],
    ['a detached array', detached],
    ['a detached view', new DataView(structuredClone(new ArrayBuffer(4)))],
    ['big numbers', new BigInt64Array(3)],
    ['a date', new Date(NaN)],
    ['a promise that rejects', rejecting],
  ];
}

let folder: string;
let model: api.Model;
const at = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'arguments-'));
  model = await tinyModel({ vocabSize: 256 });
  await api.saveModel(model, at('model'));
  await writeFile(at('book.txt'), 'the cat sat on the mat. '.repeat(20));
  await writeFile(at('ids.bin'), new Uint16Array(200));
  await writeFile(at('rows.jsonl'), '{"tokens": [1, 2, 3]}\n{"tokens": [4, 5, 6]}\n'.repeat(4));
});
afterAll(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

const sampler = (): api.Sampler => new api.Sampler(model, new api.ByteTokenizer());
const trainer = (options: object = {}): api.Trainer =>
  new api.Trainer(model, {
    arguments: { maxSteps: 1, batchSize: 1 },
    train: countingDataset(),
    evaluation: countingDataset(),
    ...options,
  });
const report = (options: object = {}): Promise<api.RunReport> =>
  api.RunReport.create({ directory: at('run'), maxSteps: 1, progress: false, ...options });
const drained = async (stream: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of stream);
};

/** A call with a value in place of one argument; closes what it makes if needed. */
type Call = (value: never) => unknown;

/** Calls, and the values that each accepts. */
const calls: [name: string, call: Call, takes?: readonly unknown[]][] = [
  ['Model.create(·)', (v) => api.Model.create(v, OPTIONS)],
  [
    'Model.create(config, { device: · })',
    (v) => api.Model.create(TINY, { ...OPTIONS, device: v }),
    [undefined],
  ],
  [
    'Model.create(config, { nonsense: · })',
    (v) => api.Model.create(TINY, { ...OPTIONS, nonsense: v } as object),
  ],
  ['logits(·)', (v) => model.logits(v)],
  ['logits(tokens, ·)', (v) => model.logits([[1]], v), [undefined, {}]],
  ['logProbs(·)', (v) => model.logProbs(v)],
  ['new JsonTokenizer(·)', (v) => new api.JsonTokenizer(v)],
  ['JsonTokenizer.fromFile(·)', (v) => api.JsonTokenizer.fromFile(v)],
  ['new ByteTokenizer().encode(·)', (v) => new api.ByteTokenizer().encode(v), ['']],
  ['new ByteTokenizer().decode(·)', (v) => new api.ByteTokenizer().decode(v), [[], [3]]],
  ['openText(·)', (v) => api.openText(v, { blockSize: 8 })],
  ['openText(file, ·)', (v) => api.openText(at('book.txt'), v)],
  ['openTokens(·)', (v) => api.openTokens(v, { blockSize: 8, vocabSize: 9 })],
  ['openTokens(file, ·)', (v) => api.openTokens(at('ids.bin'), v)],
  [
    'openTokens(file, { tokenizer: · })',
    (v) => api.openTokens(at('ids.bin'), { blockSize: 8, tokenizer: v }),
  ],
  ['openSequences(·)', (v) => api.openSequences(v, { vocabSize: 9, blockSize: 8 })],
  ['openSequences(file, ·)', (v) => api.openSequences(at('rows.jsonl'), v)],
  ['streamSequences(·)', (v) => api.streamSequences(v, { vocabSize: 9, blockSize: 8 }).close(), [FUNCTION]],
  ['streamSequences(stream, ·)', (v) => api.streamSequences(async function* () {}, v)],
  ['findCheckpoint(·)', (v) => api.findCheckpoint(v)],
  ['listCheckpoints(·)', (v) => api.listCheckpoints(v)],
  ['loadModel(·)', (v) => api.loadModel(v, OPTIONS)],
  [
    'loadModel(folder, { weights: · })',
    (v) => api.loadModel(at('model'), { ...OPTIONS, weights: v }),
    [undefined],
  ],
  ['loadModel(folder, { nonsense: · })', (v) => api.loadModel(at('model'), { nonsense: v } as object)],
  ['saveModel(·, folder)', (v) => api.saveModel(v, at('saved'))],
  ['saveModel(model, ·)', (v) => api.saveModel(model, v)],
  ['saveModel(model, folder, ·)', (v) => api.saveModel(model, at('saved'), v), [undefined, {}]],
  ['saveModel(…, { tokenizer: · })', (v) => api.saveModel(model, at('saved'), { tokenizer: v }), [undefined]],
  ['averageCheckpoints(·, folder)', (v) => api.averageCheckpoints(v, at('mean'))],
  ['averageCheckpoints(runs, ·)', (v) => api.averageCheckpoints([at('model'), at('model')], v)],
  ['averageCheckpoints(run, folder, ·)', (v) => api.averageCheckpoints(at('model'), at('mean'), v)],
  ['new Sampler(·)', (v) => new api.Sampler(v)],
  ['new Sampler(model, ·)', (v) => new api.Sampler(model, v), [undefined]],
  [
    'new Sampler(model, tokenizer, ·)',
    (v) => new api.Sampler(model, new api.ByteTokenizer(), v),
    [undefined, {}],
  ],
  ['generate(·)', (v) => sampler().generate(v, { maxNewTokens: 1 }), ['', [], [3]]],
  ['generate(prompt, ·)', (v) => sampler().generate('a', v), [undefined, {}]],
  [
    'generate(prompt, { signal: · })',
    (v) => sampler().generate('a', { maxNewTokens: 1, signal: v }),
    [undefined],
  ],
  [
    'generate(prompt, { tokenMask: · })',
    (v) => sampler().generate('a', { maxNewTokens: 1, tokenMask: v }),
    [undefined],
  ],
  [
    'generate(prompt, { logitBias: · })',
    (v) => sampler().generate('a', { maxNewTokens: 1, logitBias: v }),
    [undefined],
  ],
  [
    'generate(prompt, { types: · })',
    (v) => sampler().generate('a', { maxNewTokens: 1, types: v }),
    [undefined],
  ],
  ['stream(·)', (v) => drained(sampler().stream(v, { maxNewTokens: 1 })), ['', [], [3]]],
  ['stream(prompt, ·)', (v) => drained(sampler().stream('a', v)), [undefined, {}]],
  ['new Trainer(·)', (v) => new api.Trainer(v, { arguments: { maxSteps: 1 } })],
  ['new Trainer(model, ·)', (v) => new api.Trainer(model, v)],
  ['new Trainer(model, { arguments: · })', (v) => trainer({ arguments: v })],
  ['new Trainer(model, { nonsense: · })', (v) => trainer({ nonsense: v })],
  ['new Trainer(model, { train: · })', (v) => trainer({ train: v }), [undefined]],
  ['new Trainer(model, { evaluation: · })', (v) => trainer({ evaluation: v }), [undefined]],
  ['new Trainer(model, { callbacks: · })', (v) => trainer({ callbacks: v }), [undefined, []]],
  ['train(·)', (v) => trainer().train(v), [undefined, {}]],
  ['train({ signal: · })', (v) => trainer().train({ signal: v }), [undefined]],
  ['step(·)', (v) => trainer().step(v)],
  ['step({ tokens: · })', (v) => trainer().step({ tokens: v })],
  ['step({ inputs: · })', (v) => trainer().step({ ...PACKED, inputs: v })],
  ['step({ inputs: { tokens: · } })', (v) => trainer().step({ ...PACKED, inputs: { tokens: v } })],
  ['step({ capacity: ·, inputs })', (v) => trainer().step({ ...PACKED, capacity: v })],
  ['step({ rows: ·, inputs })', (v) => trainer().step({ ...PACKED, rows: v })],
  ['step({ lengths: ·, inputs })', (v) => trainer().step({ ...PACKED, lengths: v })],
  ['step({ tokens, nonsense: · })', (v) => trainer().step({ tokens: [[1, 2]], nonsense: v } as never)],
  ['save(·)', (v) => trainer().save(v)],
  ['resume(·)', (v) => trainer().resume(v)],
  ['planTraining(·)', (v) => api.planTraining(v)],
  ['planTraining(config, ·)', (v) => api.planTraining(TINY, v), [undefined, {}]],
  [
    'planTraining(config, { arguments: · })',
    (v) => api.planTraining(TINY, { arguments: v }),
    [undefined, {}],
  ],
  ['tune(·)', (v) => api.tune(v, { device: 'cpu' })],
  ['tune(config, ·)', (v) => api.tune(TINY, v)], // without a GPU nothing is accepted
  ['tune(config, { arguments: · })', (v) => api.tune(TINY, { device: 'cpu', arguments: v })],
  ['scheduleOf(·)', (v) => api.scheduleOf(v)],
  ['earlyStopping(·)', (v) => api.earlyStopping(v), [undefined, {}]],
  ['scheduleSvg(·)', (v) => api.scheduleSvg(v, { title: '' })],
  ['scheduleSvg(schedule, ·)', (v) => api.scheduleSvg(api.scheduleOf({ maxSteps: 2 }), v)],
  ['lossCurveSvg(·)', (v) => api.lossCurveSvg(v, [], { title: '' }), [[]]],
  ['lossCurveSvg(points, ·)', (v) => api.lossCurveSvg([], v, { title: '' }), [[]]],
  ['lossCurveSvg(points, points, ·)', (v) => api.lossCurveSvg([], [], v)],
  ['lossCurveTerminal(·)', (v) => api.lossCurveTerminal(v, []), [[]]],
  ['lossCurveTerminal(points, points, ·)', (v) => api.lossCurveTerminal([], [], v), [undefined, {}]],
  ['MetricsFile.create(·)', (v) => api.MetricsFile.create(v)],
  ['MetricsFile.resume(·)', (v) => api.MetricsFile.resume(v, 0)],
  [
    'MetricsFile.resume(file, ·)',
    (v) => api.MetricsFile.resume(at('metrics.jsonl'), v).then(({ file }) => file.close()),
    [3],
  ],
  ['readMetrics(·)', (v) => api.readMetrics(v)],
  ['RunReport.create(·)', (v) => api.RunReport.create(v)],
  ['RunReport.create({ maxSteps: · })', async (v) => (await report({ maxSteps: v })).close(), [3]],
  ['RunReport.create({ nonsense: · })', (v) => report({ nonsense: v })],
  [
    'add(·)',
    async (v) => {
      const one = await report();
      try {
        one.add(v);
      } finally {
        await one.close();
      }
    },
  ],
];

it.each(calls.map(([name, call, takes = []]) => ({ name, call, takes })))(
  '$name',
  async ({ call, takes }) => {
    const wrong: string[] = [];
    for (const value of NONSENSE) {
      const wanted = takes.some((taken) => isDeepStrictEqual(taken, value)) ? 'taken' : 'refused';
      const outcome = await Promise.resolve(value as never)
        .then(call)
        .then(
          () => 'taken',
          (error: unknown) =>
            error instanceof api.TesseraeError && error.code !== 'ERR_INTERNAL' ? 'refused' : String(error),
        );
      if (outcome !== wanted) wrong.push(`${inspect(value)}: ${outcome}`);
    }
    expect(wrong).toEqual([]);
  },
);

it.each(calls.map(([name, call]) => ({ name, call })))('hostile values: $name', async ({ call }) => {
  const wrong: string[] = [];
  for (const [name, value] of hostile()) {
    const outcome = await (async () => call(value as never))().then(
      () => '',
      (error: unknown) =>
        error instanceof api.TesseraeError && error.code !== 'ERR_INTERNAL'
          ? ''
          : String((error as Error).stack),
    );
    if (outcome !== '') wrong.push(`${name}: ${outcome}`);
  }
  expect(wrong).toEqual([]);
});

it('every function and class that is exported is among them', () => {
  const names = Object.entries(api).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
  expect(names.length).toBeGreaterThan(20);
  const tried = (name: string): boolean =>
    calls.some(([call]) => new RegExp(`^(new )?${name}\\b`).test(call));
  expect(names.filter((name) => name !== 'TesseraeError' && !tried(name))).toEqual([]);
});
