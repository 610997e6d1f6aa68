import fc from 'fast-check';
import { gpt2 } from '../../lib/models/gpt2';
import { addon, damagedText, expectCoded, mutated, type Json } from './support';

const graph = gpt2({ vocabSize: 19, nPositions: 8, nEmbd: 12, nHead: 2, nLayer: 1, nTypes: 2 });
const graphJson = JSON.parse(JSON.stringify(graph)) as Json;
const planRequest = {
  chip: 'h100',
  rows: 2,
  lengths: { time: 8 },
  gradientAccumulationSteps: 2,
  padding: { width: 8 },
  optimizer: { type: 'sgd', momentum: 0.9, nesterov: true, weightDecay: 0 },
  emaDecay: 0.9,
  frozen: ['transformer.wtte.weight'],
};
const runRequest = {
  mode: 'train',
  rows: 2,
  lengths: { time: 8 },
  labelSmoothing: 0.1,
  outputs: ['loss'],
  rewrite: true,
};
const modelOptions = { device: 'cpu', precision: 'fp32', seed: 1, threads: 1 };

/** Plans; a refusal has to be a coded error. */
function plan(graphText: string, requestText: string): boolean {
  try {
    JSON.parse(addon.plan(graphText, requestText));
    return true;
  } catch (failure) {
    expectCoded(failure);
    return false;
  }
}

const runs = { numRuns: 500 };
const request = JSON.stringify(planRequest);

test('the documents that are mutated are valid', () => {
  expect(plan(JSON.stringify(graph), request)).toBe(true);
});

test('plan: a Graph of another structure', () => {
  fc.assert(
    fc.property(mutated(graphJson), (json) => void plan(JSON.stringify(json), request)),
    runs,
  );
});

test('plan: a Graph whose text is damaged', () => {
  fc.assert(
    fc.property(damagedText(graphJson), (text) => void plan(text, request)),
    runs,
  );
});

test('plan: a request of another structure or damaged', () => {
  const text = JSON.stringify(graph);
  const either = fc.oneof(
    mutated(planRequest).map((json) => JSON.stringify(json)),
    damagedText(planRequest),
  );
  fc.assert(
    fc.property(either, (damaged) => void plan(text, damaged)),
    runs,
  );
});

/** Whether nothing in a Graph is so large that drawing its weights would take long. */
const isSmall = (json: Json): boolean =>
  typeof json === 'number'
    ? json < 4096
    : json === null || typeof json !== 'object' || Object.values(json).every(isSmall);

const batch = {
  tokens: Int32Array.from({ length: 16 }, (_, i) => i % 19),
  types: Int32Array.from({ length: 16 }, (_, i) => i % 2),
  targets: Int32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? -100 : i % 19)),
};

async function createAndRun(
  graphText: string,
  optionsText: string,
  requestText: string,
  inputs: object,
): Promise<void> {
  let model: object | undefined;
  try {
    model = await addon.createModel(graphText, [optionsText]);
    await addon.run(model, requestText, inputs, '{"poison":true,"separate":true}');
  } catch (failure) {
    expectCoded(failure);
  } finally {
    if (model) addon.disposeModel(model);
  }
}

test('run: what the parser accepts of another structure also runs or is refused', async () => {
  const small = mutated(graphJson).filter(isSmall);
  await fc.assert(
    fc.asyncProperty(small, (json) =>
      createAndRun(JSON.stringify(json), JSON.stringify(modelOptions), JSON.stringify(runRequest), batch),
    ),
    { numRuns: 300 },
  );
});

test('run: a request or options of another structure', async () => {
  await fc.assert(
    fc.asyncProperty(mutated(runRequest), mutated(modelOptions), fc.boolean(), (r, o, which) =>
      createAndRun(
        JSON.stringify(graph),
        JSON.stringify(which ? modelOptions : o),
        JSON.stringify(which ? r : runRequest),
        batch,
      ),
    ),
    { numRuns: 300 },
  );
});

test('run: batches of other types, lengths, names and ids', async () => {
  const id = fc.oneof(fc.integer({ min: -2, max: 20 }), fc.constantFrom(-100, -(2 ** 31), 2 ** 31 - 1));
  const odd: fc.Arbitrary<unknown> = fc.oneof(
    fc.array(id, { minLength: 0, maxLength: 20 }).map((ids) => Int32Array.from(ids)),
    fc.array(id, { minLength: 16, maxLength: 16 }).map((ids) => Int32Array.from(ids)),
    fc.constant(new Float32Array(16)),
    fc.constant(new Float64Array(16)),
    fc.constant(new BigInt64Array(16)),
    fc.constant(new Uint8Array(64)),
    fc.constantFrom(null, undefined, 'text', 7, [1, 2], {}),
  );
  const name = fc.constantFrom(
    'tokens',
    'types',
    'targets',
    'loss',
    '',
    '__proto__',
    'transformer.wte.weight',
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, odd, { maxKeys: 3 }), fc.boolean(), (changes, complete) =>
      createAndRun(JSON.stringify(graph), JSON.stringify(modelOptions), JSON.stringify(runRequest), {
        ...(complete ? batch : {}),
        ...changes,
      }),
    ),
    { numRuns: 300 },
  );
});
