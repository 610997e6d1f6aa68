import { expectClose } from '../support/compare';
import { distances } from '../support/curve';
import { withModel } from '../support/native';
import {
  firstGradients,
  followReference,
  gradientOf,
  references,
  startReference,
} from '../support/references';

describe.each(references)('%s', (_, reference) => {
  const { graph, losses, grad_norms: gradNorms } = reference;

  test('the fixture is of this Graph', () => {
    const trained = graph.parameters.filter(({ trainable }) => trainable !== false).map(({ name }) => name);
    expect(Object.keys(reference.weights).sort()).toEqual(trained.sort());
    const needed = graph.inputs.filter(({ optional }) => !optional).map(({ name }) => name);
    expect(Object.keys(reference.batches).sort()).toEqual(needed.sort());
  });

  // PyTorch in single precision is up to 1e-6 from itself in double precision.
  test('gradients of the first step are those of PyTorch', async () => {
    await withModel(graph, {}, async (model) => {
      await startReference(model, reference);
      for (const [name, gradient] of await firstGradients(model, reference))
        expectClose(`d(${name})`, gradient, gradientOf(reference, name), 1e-5);
    });
  });

  // PyTorch in single precision is up to 2e-7 (losses) and 3e-7 (norms) from itself in double precision.
  test.each([1, 2])('20 steps follow PyTorch: %d micro-batches a step', async (microBatches) => {
    await withModel(graph, {}, async (model) => {
      await startReference(model, reference);
      const actual = await followReference(model, reference, microBatches);
      expect(Object.keys(actual.losses)).toEqual(Object.keys(losses));
      for (const [role, values] of Object.entries(losses))
        expect(distances(actual.losses[role]!, values)).toBeLessThan(1e-5);
      expect(distances(actual.norms, gradNorms)).toBeLessThan(2e-5);
    });
  });
});
