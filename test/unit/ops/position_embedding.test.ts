import { positionEmbeddingCase } from '../support/cases';
import { checkCase, runNative } from '../support/native';

test.each([
  [1, 1, 1, 1],
  [3, 17, 17, 7],
  [5, 37, 64, 65],
  [113, 3, 8, 545],
])('position_embedding: rows %d, time %d of %d, width %d', async (rows, time, positions, nEmbd) => {
  await checkCase(positionEmbeddingCase({ rows, time, positions, nEmbd }));
});

test.each([
  [1, 4, 4, 7],
  [5, 37, 40, 65],
  [3, 90, 90, 8],
])('documents: rows %d, time %d of %d, width %d', async (rows, time, positions, nEmbd) => {
  const documents = [[0, 1, 2, 3], [0, 17, 33, 36, 64], [0]];
  const one = positionEmbeddingCase({ rows, time, positions, nEmbd, documents });
  await checkCase(one);
  expect(await runNative(one, { threads: 2 })).toEqual(await runNative(one, { threads: 1 }));
});

test.each([
  [
    'behind its position',
    [0, 2, 2],
    /starts\[1\]\[1\] is 2; it must be 1, or equal to the value of the previous position/,
  ],
  ['before the document of the position before it', [0, 1, 0], /starts\[1\]\[2\] is 0; it must be 2, or/],
  ['of a row that does not begin with one', [-1, -1, -1], /starts\[1\]\[0\] is -1; it must be 0, or/],
])('a start %s is an error', async (_, row, message) => {
  const one = positionEmbeddingCase({ rows: 2, time: 3, positions: 8, nEmbd: 4, documents: [[0, 1]] });
  one.given.get('starts')!.data.set(row, 3);
  await expect(runNative(one)).rejects.toMatchObject({
    code: 'ERR_DATA',
    message: expect.stringMatching(message) as string,
  });
});

test('more positions than there are is an error', async () => {
  const one = positionEmbeddingCase({ rows: 1, time: 9, positions: 8, nEmbd: 4 });
  await expect(runNative(one)).rejects.toMatchObject({ name: 'TesseraeError', code: 'ERR_SHAPE' });
});
