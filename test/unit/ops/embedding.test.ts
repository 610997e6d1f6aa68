import type { InputSpec } from '../../../lib/graph/graph';
import { embeddingCase } from '../support/cases';
import { relativeError } from '../support/compare';
import { checkCase, runNative } from '../support/native';

test.each([
  [1, 1, 1, 1],
  [1, 17, 3, 7],
  [5, 37, 250, 65],
  [113, 1, 65, 545],
  [2, 199, 1000, 48],
])('embedding: rows %d, time %d, vocabulary %d, width %d', async (rows, time, vocabSize, nEmbd) => {
  await checkCase(embeddingCase({ rows, time, vocabSize, nEmbd }));
});

test('embedding added to another value', async () => {
  await checkCase(embeddingCase({ rows: 3, time: 31, vocabSize: 12, nEmbd: 9, addend: true }), {
    separate: true,
  });
});

test('the ignored id embeds as zeros and has no gradient', async () => {
  const known = embeddingCase({ rows: 1, time: 4, vocabSize: 5, nEmbd: 3 });
  const inputs = known.graph.inputs.map((input) =>
    input.name === 'ids' ? ({ ...input, ignored: -1 } as InputSpec) : input,
  );
  const given = new Map(known.given);
  given.set('ids', { shape: [1, 4], data: Float64Array.of(-1, 2, 0, -1) });
  const { value, gradients } = await runNative({ ...known, graph: { ...known.graph, inputs }, given });
  const weight = known.given.get('weight')!.data;
  const dy = known.given.get('dy')!.data;
  expect([...Array.from(value)]).toEqual([
    0,
    0,
    0,
    ...weight.subarray(6, 9),
    ...weight.subarray(0, 3),
    0,
    0,
    0,
  ]);
  const expected = new Float64Array(15);
  expected.set(dy.subarray(3, 6), 6);
  expected.set(dy.subarray(6, 9), 0);
  expect(relativeError(gradients.get('weight')!, expected)).toBe(0);
});

test.each([
  ['no ids', ({ name, axes }: InputSpec): InputSpec => ({ name, axes, kind: 'starts' })],
  ['ids beyond the table', ({ name, axes }: InputSpec): InputSpec => ({ name, axes, kind: 'ids', below: 6 })],
])('%s are refused', async (_, change) => {
  const known = embeddingCase({ rows: 1, time: 4, vocabSize: 5, nEmbd: 3 });
  const inputs = known.graph.inputs.map((input) => (input.name === 'ids' ? change(input) : input));
  await expect(runNative({ ...known, graph: { ...known.graph, inputs } })).rejects.toMatchObject({
    code: 'ERR_SHAPE',
    message: expect.stringContaining('below') as string,
  });
});
