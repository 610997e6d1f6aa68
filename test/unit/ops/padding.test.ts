import { gpt2 } from '../../../lib/models/gpt2';
import type { RunResult } from '../../../lib/native';
import { randomBatch, randomWeights } from '../support/gpt2_cases';
import { batchOf, withModel, writeParameters } from '../support/native';

// Physical extents that differ for all axes, so that a tensor's shape shows which lanes are padding.
const headDim = 9;
const nHead = 5;
const graph = gpt2({
  vocabSize: 61,
  nPositions: 7,
  nEmbd: nHead * headDim,
  nHead,
  nInner: 91,
  nLayer: 2,
  embdPdrop: 0.1,
  attnPdrop: 0.1,
  residPdrop: 0.1,
});
const paddedHead = 16;
const isPadding = new Map<number, (lane: number) => boolean>([
  [64, (lane) => lane >= 61],
  [48, (lane) => lane >= nHead * headDim],
  [96, (lane) => lane >= 91],
  [nHead * paddedHead, (lane) => lane % paddedHead >= headDim],
  [3 * nHead * paddedHead, (lane) => lane % paddedHead >= headDim],
]);

/** Elements of a tap in padding lanes of any axis that are not zero. */
function dirt({ shape, data }: RunResult['taps'][number]['value']): { lanes: number; dirty: number } {
  let lanes = 0;
  let dirty = 0;
  for (let i = 0; i < data.length; i++) {
    let rest = i;
    let padding = false;
    for (const extent of [...shape].reverse()) {
      padding ||= isPadding.get(extent)?.(rest % extent) ?? false;
      rest = Math.floor(rest / extent);
    }
    if (!padding) continue;
    lanes++;
    if (data[i] !== 0) dirty++;
  }
  return { lanes, dirty };
}

// Dirty padding of a parameter or a moment would show in results: rows of a weight, a bias or a table in the padding of y,
// columns of a weight in the padding of dx.
test.each([true, false])('padding lanes are zero after 100 steps: rewrite %s', async (rewrite) => {
  await withModel(graph, {}, async (model) => {
    const physical = (name: string): readonly number[] | undefined =>
      model.info.parameters.find((parameter) => parameter.name === name)?.physicalShape;
    expect(physical('transformer.wte.weight')).toEqual([64, 48]);
    expect(physical('transformer.h.0.attn.c_attn.weight')).toEqual([240, 48]);
    expect(physical('transformer.h.1.mlp.c_proj.weight')).toEqual([48, 96]);
    await writeParameters(model, randomWeights(graph));
    await model.configureTraining({
      optimizer: { type: 'adamw', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
      maxGradNorm: 1,
      labelSmoothing: 0.1,
      learningRates: Float32Array.of(3e-3),
    });
    for (let step = 0; step < 100; step++) {
      const batches = [0, 1].map((i) => batchOf(graph, randomBatch(graph, 3, 7, 2 * step + i)));
      expect((await model.trainStep({ rows: 3, lengths: { time: 7 } }, batches)).applied).toBe(true);
    }
    const { taps } = await model.run(
      { mode: 'train', rows: 3, lengths: { time: 7 }, labelSmoothing: 0.1, rewrite },
      batchOf(graph, randomBatch(graph, 3, 7, 0)),
      { tap: true, poison: true },
    );
    let lanes = 0;
    for (const { call, operation, output, value } of taps) {
      const found = dirt(value);
      lanes += found.lanes;
      expect({ call, operation, output, dirty: found.dirty }).toEqual({ call, operation, output, dirty: 0 });
    }
    expect(lanes).toBeGreaterThan(10_000);
  });
});
