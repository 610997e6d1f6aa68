import { lastPositionCase } from '../support/cases';
import { checkCase } from '../support/native';

test.each([
  [1, 1, 1],
  [9, 4, 7],
  [5, 33, 61],
])('last_position: rows %d, time %d, width %d', async (rows, time, nEmbd) => {
  await checkCase(lastPositionCase({ rows, time, nEmbd }));
});

test('last_position in memory of its own', async () => {
  await checkCase(lastPositionCase({ rows: 4, time: 6, nEmbd: 13 }), { separate: true });
});
