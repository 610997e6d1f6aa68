import type { Dataset } from '../../../lib/data/dataset';
import { packBatch, type TrainingBatch } from '../../../lib/models/inputs';
import type { PackedBatch } from '../../../lib/models/packed_batch';
import type { TrainingArguments } from '../../../lib/training/arguments';
import { packAlike } from '../../../lib/training/optimization';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

const ARGUMENTS = { maxSteps: 4, batchSize: 3, learningRate: 1e-2 };
const rows: TrainingBatch = {
  tokens: [
    [1, 2, 3, 4, 5],
    [6, 7],
    [8, 9, 10],
  ],
};

async function trainer(train?: Dataset, args: Partial<TrainingArguments> = {}): Promise<Trainer> {
  const model = await tinyModel();
  return new Trainer(model, {
    arguments: { ...ARGUMENTS, ...args },
    ...(train ? { train, evaluation: train } : {}),
  });
}

/** The result of packBatch for rows, as a data worker would pass it on. */
function packedLike(one: Trainer, batch: TrainingBatch, { rows = 3, time = 8 } = {}): PackedBatch {
  const { inputs, capacity, lengths } = packBatch(one.model, batch, {
    targets: true,
    capacity: { rows, lengths: { time } },
  });
  return { inputs, capacity, rows, lengths };
}

it('a step is the same over rows and over packed rows', async () => {
  const [one, other] = await Promise.all([trainer(), trainer()]);
  for (let step = 0; step < 3; step++) {
    const expected = await one.step(rows);
    expect(await other.step(packedLike(other, rows, { time: 16 }))).toEqual(expected);
  }
  const documents = { tokens: [[1, 2, 3, 4, 5, 6]], documentStarts: [[0, 2]] };
  const packed = packedLike(other, documents, { rows: 1, time: 16 });
  expect(packed.capacity).toEqual({ rows: 1, lengths: { time: 16 }, documents: true });
  expect(await other.step(packed)).toEqual(await one.step(documents));
});

it('a step mixes both, and rows are padded to the capacity of the packed', async () => {
  const [one, other] = await Promise.all([trainer(), trainer()]);
  const mixed = await other.step([rows, packedLike(other, rows, { time: 16 })]);
  expect(mixed).toEqual(await one.step([rows, rows]));
});

it('a step has documents if a packed batch has some', async () => {
  const one = await trainer();
  const documents = packedLike(one, { tokens: [[1, 2, 3]], documentStarts: [[0, 2]] });
  const capacity = { rows: 3, lengths: { time: 8 } };
  expect(packAlike(one.model, [rows, documents], capacity).map((batch) => batch.capacity)).toEqual([
    { ...capacity, documents: true },
    { ...capacity, documents: true },
  ]);
});

it('a run is the same over rows and over packed rows', async () => {
  const dataset = countingDataset(8);
  const one = await trainer(dataset);
  const other: Trainer = await trainer({
    ...dataset,
    batch: async (request) => packedLike(other, (await dataset.batch(request)) as TrainingBatch),
    // The last batch has fewer rows.
    async *evaluationBatches(rows, batches) {
      for await (const batch of dataset.evaluationBatches(rows, batches)) {
        const packed = packedLike(other, batch as TrainingBatch, { rows: 2 });
        yield { ...packed, capacity: { rows, lengths: { time: 8 } } };
      }
    },
  });
  const [expected, result] = [await one.train(), await other.train()];
  expect({ ...result, seconds: 0 }).toEqual({ ...expected, seconds: 0 });
});

it('micro-batches without rows are left out', async () => {
  const dataset = countingDataset(8);
  const one: Trainer = await trainer(
    {
      ...dataset,
      batch: async (request) => {
        const packed = packedLike(one, (await dataset.batch(request)) as TrainingBatch);
        return request.microStep === 1 ? { ...packed, rows: 0, inputs: {} } : packed;
      },
    },
    { gradientAccumulationSteps: 2 },
  );
  expect(await one.train()).toMatchObject({ step: 4, tokens: 4 * 3 * 8 });
});

describe('native code finds wrongly packed batches', () => {
  const wrong: [string, (inputs: Record<string, Int32Array>) => object, RegExp][] = [
    [
      'an id beyond the vocabulary',
      () => ({ tokens: new Int32Array(24).fill(32) }),
      /^tokens\[0\]\[0\] is 32/,
    ],
    [
      'a target beyond it',
      ({ targets }) => ({ targets: targets?.with(11, -1) }),
      /^targets\[1\]\[3\] is -1; it must be in \[0, 32\)/,
    ],
    ['an input of another type', () => ({ tokens: new Float32Array(24) }), /'tokens' has 24 elements of f/],
    [
      'bytes for ids',
      () => ({ tokens: new Uint8Array(24) }),
      /^'tokens' has 24 elements of uint8; it must be .* int32/,
    ],
    ['an input of another size', () => ({ tokens: new Int32Array(21) }), /'tokens' has 21 elements/],
    ['an input that the model does not have', () => ({ types: new Int32Array(24) }), /no input 'types'/],
    [
      'starts of no documents',
      () => ({ starts: new Int32Array(24) }),
      /'starts' is given to a program without/,
    ],
  ];
  it.each(wrong)('%s', async (_, change, message) => {
    const one = await trainer();
    const packed = packedLike(one, rows);
    const inputs = { ...packed.inputs, ...change(packed.inputs as Record<string, Int32Array>) };
    expect((await failureOf('ERR_DATA', () => one.step({ ...packed, inputs }))).message).toMatch(message);
    // The trainer continues.
    expect((await one.step(packed)).applied).toBe(true);
  });

  it('an input that is missing', async () => {
    const one = await trainer();
    const { targets: _, ...inputs } = packedLike(one, rows).inputs;
    const step = () => one.step({ ...packedLike(one, rows), inputs });
    expect((await failureOf('ERR_DATA', step)).message).toMatch(/^the batch has no 'targets'/);
  });
});

it('rows that are longer than nPositions are refused', async () => {
  const one = await trainer();
  const inputs = { tokens: new Int32Array(17), targets: new Int32Array(17) };
  const step = () => one.step({ capacity: { rows: 1, lengths: { time: 17 } }, rows: 1, inputs });
  expect((await failureOf('ERR_SHAPE', step)).message).toMatch(/17.*16/);
});

it('batches that are packed for different capacities make no step', async () => {
  const one = await trainer();
  const batches = [packedLike(one, rows), packedLike(one, rows, { rows: 4 })];
  expect((await failureOf('ERR_SHAPE', () => one.step(batches))).message).toMatch(
    /packed for 4 rows × 8 time, but the step has 3 rows × 8 time/,
  );
});
