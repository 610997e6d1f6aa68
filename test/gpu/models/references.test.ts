import type { Precision } from '../../../lib/native';
import { expectClose } from '../../unit/support/compare';
import { distances } from '../../unit/support/curve';
import { withModel } from '../../unit/support/native';
import {
  firstGradients,
  followReference,
  gradientOf,
  references,
  startReference,
} from '../../unit/support/references';
import { gpu } from '../support/gpu';

// PyTorch in bf16 by autocast is up to 1.5e-3 from itself in double precision.
const furthestLoss = { fp32: 1e-5, tf32: 1e-3, bf16: 3e-3, fp16: 3e-3 } as const;
const precisions = Object.keys(furthestLoss) as Precision[];

describe.each(references)('%s', (_, reference) => {
  const { graph, losses } = reference;

  test('gradients of the first step are those of PyTorch in fp32', async () => {
    await withModel(graph, { device: gpu }, async (model) => {
      await startReference(model, reference);
      for (const [name, gradient] of await firstGradients(model, reference))
        expectClose(`d(${name})`, gradient, gradientOf(reference, name), 1e-5);
    });
  });

  describe.each(precisions)('20 steps in %s follow PyTorch', (precision) => {
    test.each([1, 2])('%d micro-batches a step', async (microBatches) => {
      await withModel(graph, { device: gpu, precision }, async (model) => {
        await startReference(model, reference);
        const actual = await followReference(model, reference, microBatches);
        for (const [role, values] of Object.entries(losses))
          expect(distances(actual.losses[role]!, values)).toBeLessThan(furthestLoss[precision]);
      });
    });
  });
});
