import { addCase } from '../support/cases';
import { checkCase } from '../support/native';

test.each([
  [1, 1, 1],
  [3, 17, 7],
  [1, 199, 137],
])('add: rows %d, time %d, width %d', async (rows, time, nEmbd) => {
  await checkCase(addCase({ rows, time, nEmbd }));
});

test('a value added to itself gets both gradients', async () => {
  await checkCase(addCase({ rows: 3, time: 5, nEmbd: 9, same: true }), { separate: true });
});
