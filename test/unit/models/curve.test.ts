import { gpt2 } from '../../../lib/models/gpt2';
import { fromHuggingFace } from '../../../lib/models/gpt2_config_file';
import { batchOfStep, curve, distances, followCurve, startCurve } from '../support/curve';
import { expectClose } from '../support/compare';
import { withModel } from '../support/native';

const graph = gpt2(fromHuggingFace(curve.config).config);
const time = curve.batches.shape[2] - 1;

test('the fixture is of this Graph', () => {
  expect(Object.keys(curve.tensors).sort()).toEqual(graph.parameters.map(({ name }) => name).sort());
});

test('logits of the initial weights are those of PyTorch', async () => {
  await withModel(graph, {}, async (model) => {
    await startCurve(model, graph);
    const { tokens } = batchOfStep(0, 0, 1);
    const result = await model.run(
      { mode: 'eval', rows: 1, lengths: { time }, outputs: ['logits'] },
      { tokens: tokens! },
    );
    const { shape, data } = result.outputs['logits']!;
    expect(shape).toEqual([1, time, 65]);
    expectClose('logits', data.subarray((time - 1) * 65), curve.initial_logits, 1e-6);
  });
});

// PyTorch in single precision is 2e-7 (losses) and 2e-6 (norms) from itself in double precision.
test.each([1, 2, 4])('50 steps follow PyTorch: %d micro-batches a step', async (microBatches) => {
  await withModel(graph, {}, async (model) => {
    await startCurve(model, graph);
    const { losses, norms } = await followCurve(model, microBatches);
    expect(distances(losses, curve.losses)).toBeLessThan(1e-5);
    expect(distances(norms, curve.grad_norms)).toBeLessThan(2e-5);
  });
});
