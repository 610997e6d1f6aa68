import { gpt2 } from '../../../lib/models/gpt2';
import { fromHuggingFace } from '../../../lib/models/gpt2_config_file';
import { type NativeModel, type Precision } from '../../../lib/native';
import { expectClose } from '../../unit/support/compare';
import {
  batchOfStep,
  curve,
  distances,
  followCurve,
  lossScaling,
  startCurve,
} from '../../unit/support/curve';
import { packedAndPadded } from '../../unit/support/documents';
import { gpt2Cases } from '../../unit/support/gpt2_cases';
import { withModel } from '../../unit/support/native';
import { padded, sessionOf } from '../../unit/support/sampling';
import { gpu as device } from '../support/gpu';

const graph = gpt2(fromHuggingFace(curve.config).config);

// PyTorch on a GPU against itself: 2e-7 in fp32, 4e-4 in tf32, 1e-3 in bf16.
test.each<[Precision, number, number]>([
  ['fp32', 1, 1e-5],
  ['fp32', 4, 1e-5],
  ['tf32', 1, 1e-3],
  ['bf16', 1, 3e-3],
  ['bf16', 2, 3e-3],
  ['fp16', 1, 3e-3],
  ['fp16', 2, 3e-3],
])('50 steps in %s with %d micro-batches follow PyTorch', async (precision, microBatches, tolerance) => {
  await withModel(graph, { device, precision }, async (model) => {
    await startCurve(model, graph);
    const { losses } = await followCurve(model, microBatches);
    expect(distances(losses, curve.losses)).toBeLessThan(tolerance);
  });
});

test.each<Precision>(['fp32', 'tf32', 'bf16', 'fp16'])(
  'two runs in %s give the same bits',
  async (precision) => {
    const run = () =>
      withModel(graph, { device, precision }, async (model) => {
        await startCurve(model, graph);
        const { losses, norms } = await followCurve(model, 2);
        return { losses, norms, head: await model.readTensor('parameter', 'transformer.wte.weight') };
      });
    expect(await run()).toEqual(await run());
  },
);

const time = curve.batches.shape[2] - 1;
const rows = curve.training.batch_size;

/** Tensors of one kind, by parameter. */
async function tensors(
  model: NativeModel,
  kind: 'parameter' | 'gradient' | 'moment1' | 'moment2',
): Promise<Map<string, Float32Array>> {
  const read = new Map<string, Float32Array>();
  for (const { name } of model.info.parameters) read.set(name, await model.readTensor(kind, name));
  return read;
}

test('gradients of micro-batches add up to that of the whole batch', async () => {
  const gradients = (microBatches: number) =>
    withModel(graph, { device }, async (model) => {
      await startCurve(model, graph);
      const part = rows / microBatches;
      const batches = Array.from({ length: microBatches }, (_, i) =>
        batchOfStep(0, i * part, (i + 1) * part),
      );
      await model.trainStep({ rows: part, lengths: { time } }, batches);
      return tensors(model, 'gradient');
    });
  const whole = await gradients(1);
  // fp32 sums in another order.
  for (const [name, gradient] of await gradients(4)) expectClose(name, gradient, whole.get(name)!, 1e-6);
});

test('fp16: a gradient that overflows skips the step, halves the scale and leaves no other trace', async () => {
  const batch = batchOfStep(0);
  const trained = (initScale: number) =>
    withModel(graph, { device, precision: 'fp16' }, async (model) => {
      await startCurve(model, graph, { lossScaling: { ...lossScaling, initScale } });
      let scale = initScale;
      let skipped = 0;
      for (;;) {
        const result = await model.trainStep({ rows, lengths: { time } }, [batch]);
        expect(result.attemptedSteps).toBe(skipped + 1);
        if (result.applied) {
          expect(result).toMatchObject({ appliedSteps: 1, lossScale: scale, skippedInRow: 0 });
          expect(result.learningRate).toBe(curve.learning_rates[0]);
          const state = [];
          for (const kind of ['parameter', 'moment1', 'moment2'] as const)
            state.push(await tensors(model, kind));
          return { scale, skipped, norm: result.gradNorm, state };
        }
        skipped++;
        scale /= 2;
        expect(result).toMatchObject({ appliedSteps: 0, lossScale: scale, skippedInRow: skipped });
        expect(skipped).toBeLessThan(20);
      }
    });
  // The loss's gradient itself, 2³⁰ over the positions, is beyond fp16.
  const overflowing = await trained(2 ** 30);
  expect(overflowing.skipped).toBeGreaterThan(2);
  const clean = await trained(overflowing.scale);
  expect(clean.skipped).toBe(0);
  expect(overflowing.state).toEqual(clean.state);
  // The norm is that of the gradient without the scale; rounding in fp16 moves it by less than a hundredth.
  expect(Math.abs(clean.norm / curve.grad_norms[0]! - 1)).toBeLessThan(0.01);
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
      const session = await sessionOf(model, [0, 0], { cache: 32 });
      await session.prefill(
        ...padded([
          [1, 2, 3],
          [4, 5],
        ]),
      );
      const { tokens } = await session.decode(9);
      session.dispose();
      return tokens;
    });
  expect(await sample(device)).toEqual(await sample('cpu'));
});

// The gates of the curves above; in fp32 also that of whole models for gradients (whole_model.test.ts holds the other
// precisions to their own yardstick).
test.each<[Precision, number]>([
  ['fp32', 1e-5],
  ['tf32', 1e-3],
  ['bf16', 3e-3],
  ['fp16', 3e-3],
])('packed documents train in %s as documents of their own rows do', async (precision, tolerance) => {
  for (const [, tiny] of gpt2Cases.filter(([name]) => !name.includes('dropout'))) {
    const { packed, padded } = await packedAndPadded(tiny, { device, precision });
    const [first, ...replayed] = packed.results;
    const { validTargets, lossSum, gradNorm } = first!;
    for (const step of replayed) expect(step).toMatchObject({ validTargets, lossSum, gradNorm });
    expect(validTargets).toBe(padded.results[0]!.validTargets);
    expect(Math.abs(lossSum / padded.results[0]!.lossSum - 1)).toBeLessThan(tolerance);
    if (precision !== 'fp32') continue;
    for (const [name, values] of packed.gradients) {
      // A bias of keys has a gradient of zero, which rounding alone fills.
      if (name.endsWith('c_attn.bias')) continue;
      expectClose(`d(${name})`, values, padded.gradients.get(name)!, tolerance);
    }
  }
});
