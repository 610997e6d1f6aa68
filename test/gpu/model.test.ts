import { gpt2 } from '../../lib/models/gpt2';
import { fromHuggingFace } from '../../lib/models/gpt2_config';
import { devices, type Precision } from '../../lib/native';
import { curve, distances, followCurve, startCurve } from '../unit/support/curve';
import { withModel } from '../unit/support/native';

const graph = gpt2(fromHuggingFace(curve.config).config);
const device = devices().find(({ kind }) => kind === 'cuda')?.name ?? 'cuda:0';

// PyTorch on a GPU against itself: 2e-7 in fp32, 4e-4 in tf32, 1e-3 in bf16.
test.each<[Precision, number, number]>([
  ['fp32', 1, 1e-5],
  ['fp32', 4, 1e-5],
  ['tf32', 1, 1e-3],
  ['bf16', 1, 3e-3],
  ['bf16', 2, 3e-3],
])('50 steps in %s with %d micro-batches follow PyTorch', async (precision, microBatches, tolerance) => {
  await withModel(graph, { device, precision }, async (model) => {
    await startCurve(model, graph);
    const { losses } = await followCurve(model, microBatches);
    expect(distances(losses, curve.losses)).toBeLessThan(tolerance);
  });
});

test.each<Precision>(['fp32', 'bf16'])('two runs in %s give the same bits', async (precision) => {
  const run = () =>
    withModel(graph, { device, precision }, async (model) => {
      await startCurve(model, graph);
      const { losses, norms } = await followCurve(model, 2);
      return { losses, norms, head: await model.readTensor('parameter', 'transformer.wte.weight') };
    });
  expect(await run()).toEqual(await run());
});

test('initial weights are those of the CPU', async () => {
  const name = 'transformer.h.0.attn.c_attn.weight';
  const on = (where: string) =>
    withModel(graph, { device: where }, (model) => model.readTensor('parameter', name));
  expect(await on(device)).toEqual(await on('cpu'));
});

test('greedy tokens in fp32 are those of the CPU', async () => {
  const sample = (where: string) =>
    withModel(graph, { device: where }, async (model) => {
      await startCurve(model, graph);
      await followCurve(model, 1);
      const session = await model.createSession({ rows: 2, cache: 32, temperatures: [0, 0], seeds: [1, 2] });
      const first = await session.prefill(Int32Array.of(1, 2, 3, 4, 5, 0), Int32Array.of(3, 2));
      const rest = await session.decode(8);
      session.dispose();
      return [...first, ...rest];
    });
  expect(await sample(device)).toEqual(await sample('cpu'));
});
