import { gpt2 } from '../../../lib/models/gpt2';
import { plan } from '../../../lib/native';
import { crossEntropyCase } from '../support/cases';
import { failureOf } from '../support/errors';
import { withModel } from '../support/native';

const graph = gpt2({ vocabSize: 5, nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 1 });

test.each([
  [-1, 0],
  [NaN, 0],
  [0, 0.5],
  [0, 2 ** 60],
])('counters of %d and %d are refused', async (attempted, applied) => {
  await withModel(graph, {}, async (model) => {
    await expect(model.setCounters({ attempted, applied })).rejects.toMatchObject({ code: 'ERR_CONFIG' });
    expect(await model.counters()).toEqual({ attempted: 0, applied: 0 });
  });
});

test('a batch whose sizes would overflow is out of memory, not a small number', async () => {
  const { graph: operation } = crossEntropyCase({ rows: 1, time: 1, vocabSize: 65536, ignored: false });
  const call = () => plan(operation, { rows: 2 ** 24, lengths: { time: 2 ** 24 } });
  await failureOf('ERR_OUT_OF_MEMORY', call);
});

test('programs differ by any difference of label smoothing', async () => {
  await withModel(graph, {}, async (model) => {
    const loss = async (labelSmoothing: number) => {
      const tokens = Int32Array.of(0, 1, 2, 3);
      const request = { mode: 'train', rows: 1, lengths: { time: 4 }, labelSmoothing } as const;
      const { outputs } = await model.run(request, { tokens, targets: tokens });
      return outputs['loss']!.data[0]!;
    };
    // A smoothing that differs by 4e-7 changes the loss by less than fp32 shows, but by more than fp64 hides.
    expect(await loss(0.5)).not.toBe(await loss(0.5000004));
  });
});

test.each(['tokens', 'transformer.wte.weight', 'log_probs'])(
  "'%s', which no cross_entropy computes, is no loss to plan",
  async (value) => {
    const call = () => plan({ ...graph, outputs: { loss: value } }, { rows: 2, lengths: { time: 4 } });
    expect((await failureOf('ERR_CONFIG', call)).message).toMatch(/has no loss/);
  },
);
