import { buildGraph, resolveModelConfig } from '../../../lib/models/families';
import { plan } from '../../../lib/native';
import { planTraining } from '../../../lib/training/planning';
import { failureOf } from '../support/errors';
import { TINY } from '../support/tiny_model';

it('plans what the arguments ask for', () => {
  const planned = planTraining(TINY, {
    chip: 'h100',
    precision: 'fp16',
    memory: 2 ** 30,
    arguments: { batchSize: 4, gradientAccumulationSteps: 3, optim: 'sgd', momentum: 0.9, emaDecay: 0.99 },
  });
  expect(planned).toMatchObject({
    chip: 'h100',
    precision: 'fp16',
    rows: 4,
    lengths: { time: TINY.nPositions },
  });
  expect(planned).toMatchObject({ gradientAccumulationSteps: 3, largestBatch: { memoryBytes: 2 ** 30 } });
  expect(planned.calls.map(({ operation }) => operation)).toEqual(expect.arrayContaining(['sgd', 'ema']));
  const bytes = Object.fromEntries(planned.memory.map(({ owner, bytes }) => [owner, bytes]));
  expect(bytes).toMatchObject({ moment2: 0, ema: bytes['parameters'] });
  const added = planned.memory.reduce((sum, { bytes }) => sum + bytes, 0);
  expect(planned.totalBytes).toBe(added);
});

it('plans AdamW on the CPU with 8 rows by default', () => {
  const time = TINY.nPositions;
  expect(planTraining(TINY)).toEqual(
    plan(buildGraph(resolveModelConfig(TINY)), { rows: 8, lengths: { time } }),
  );
});

it.each<[string, () => unknown, RegExp, string | undefined]>([
  ['a chip', () => planTraining(TINY, { chip: 'h1000' }), /h1000/, undefined],
  ['an option', () => planTraining(TINY, { batchSize: 4 } as never), /batchSize/, 'batchSize'],
  [
    'an argument',
    () => planTraining(TINY, { arguments: { batchSize: 0 } }),
    /batchSize/,
    'arguments.batchSize',
  ],
  ['a memory', () => planTraining(TINY, { memory: NaN }), /memory/, 'memory'],
  ['a model', () => planTraining({ ...TINY, nHead: 3 }), /nHead 3/, 'nEmbd'],
])('refuses %s that is wrong', async (_, call, message, field) => {
  const failure = await failureOf('ERR_CONFIG', call);
  expect(failure.message).toMatch(message);
  if (field !== undefined) expect(failure.details['path']).toBe(field);
});

it('refuses a precision that the chip does not have', async () => {
  await failureOf('ERR_DEVICE', () => planTraining(TINY, { chip: 'cpu', precision: 'bf16' }));
});
