import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TesseraeError } from '../../../lib/errors';
import type { ModelProducts } from '../../../lib/native';
import type { TrainerEvent } from '../../../lib/training/events';
import type { Trainer } from '../../../lib/training/trainer';
import { disposeModels } from '../support/tiny_model';
import { trainer } from '../support/tiny_trainer';
import { eventsOf } from '../support/training_bits';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-kernels-'));
});
afterEach(async () => {
  jest.restoreAllMocks();
  disposeModels();
  await rm(folder, { recursive: true });
});

/** A schedule that a longer run does not change. */
const CONSTANT = { lrScheduler: 'constant' } as const;

const PRODUCT = {
  layout: 'forward',
  m: 128,
  n: 48,
  k: 16,
  pieces: [{ kind: 'bias' }],
  result: 'float32',
} as const;

/** As a GPU would have them: the CPU has no kernel of cuBLASLt. */
const ON_A_GPU: ModelProducts = {
  library: 130_001,
  products: [4, 5, 6, 7].map((rank, i) => ({
    ...PRODUCT,
    m: 128 + 8 * i,
    kernel: `cuBLASLt ${rank}`,
    source: 'cache',
  })),
};

async function saved(products?: ModelProducts): Promise<Trainer> {
  const one = await trainer(CONSTANT);
  if (products) jest.spyOn(one.model.native, 'products').mockResolvedValue(products);
  await one.train();
  await one.save(path.join(folder, 'saved'));
  return one;
}

const stateOf = async (): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(path.join(folder, 'saved', 'trainer_state.json'), 'utf8')) as Record<
    string,
    unknown
  >;

it('writes the kernels of a model and the version of the library', async () => {
  await saved(ON_A_GPU);
  expect((await stateOf())['products']).toEqual({
    library: 130_001,
    kernels: ON_A_GPU.products.map(({ source: _, ...product }) => product),
  });
});

it('writes none for the CPU, whose checkpoints resume as they did', async () => {
  const one = await saved();
  expect(await one.model.native.products()).toEqual({ products: [] });
  expect(await stateOf()).not.toHaveProperty('products');
  const { differences } = await (await trainer(CONSTANT)).resume(path.join(folder, 'saved'));
  expect(differences).toEqual([]);
});

it('gives a resumed model the kernels of the checkpoint, for its precision', async () => {
  await saved(ON_A_GPU);
  const resumed = await trainer(CONSTANT);
  const restore = jest.spyOn(resumed.model.native, 'restoreProducts').mockResolvedValue([]);
  const { differences } = await resumed.resume(path.join(folder, 'saved'));
  expect(differences).toEqual([]);
  expect(restore).toHaveBeenCalledWith(
    ON_A_GPU.products.map(({ source: _, ...product }) => ({
      ...product,
      precision: 'fp32',
      source: 'checkpoint',
      library: 130_001,
    })),
  );
});

it('names the kernels that are not there, and trains without them', async () => {
  const one = await saved(ON_A_GPU);
  const resumed = await trainer({ ...CONSTANT, maxSteps: 8 });
  const { differences } = await resumed.resume(path.join(folder, 'saved'));
  expect(differences).toEqual([
    "kernels of its matrix products can't be used here: cuBLASLt 4 for x Wᵀ of 128 × 48 × 16, cuBLASLt 5 for x Wᵀ of " +
      '136 × 48 × 16, cuBLASLt 6 for x Wᵀ of 144 × 48 × 16 and 1 more',
  ]);
  await resumed.train();
  expect(resumed.globalStep).toBe(one.globalStep + 2);
});

it('warns of a cache that can not be read when a run begins', async () => {
  const one = await trainer({ maxSteps: 1 });
  one.model.cacheProblem = new TesseraeError('ERR_DATA', "'products-h200.json' can't be used. Delete it");
  const events = (await eventsOf(one)) as TrainerEvent[];
  expect(events[0]).toEqual({
    type: 'warning',
    step: 0,
    code: 'ERR_DATA',
    message: "'products-h200.json' can't be used. Delete it. Training goes on without it",
  });
  expect(events.at(-1)?.type).toBe('end');
});
