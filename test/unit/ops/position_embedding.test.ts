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

test('more positions than there are is an error', async () => {
  const one = positionEmbeddingCase({ rows: 1, time: 9, positions: 8, nEmbd: 4 });
  await expect(runNative(one)).rejects.toMatchObject({ name: 'TesseraeError', code: 'ERR_SHAPE' });
});
