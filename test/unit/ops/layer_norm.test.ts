import { layerNormCase } from '../support/cases';
import { checkCase } from '../support/native';

test.each([
  [1, 1, 7, true],
  [1, 3, 8, false],
  [17, 1, 64, true],
  [113, 1, 545, true],
  [1, 199, 136, false],
  [3, 67, 48, true],
])('layer_norm: rows %d, time %d, width %d, bias %s', async (rows, time, nEmbd, bias) => {
  await checkCase(layerNormCase({ rows, time, nEmbd, bias }));
});

test('layer_norm of a sum', async () => {
  await checkCase(layerNormCase({ rows: 3, time: 43, nEmbd: 31, bias: true, residual: true }));
});

test('a row of one element is its bias, and gives no gradient to x', async () => {
  // Its variance is 0, so that rounding of the gradient is multiplied by rstd = 1 / √1e-5 = 316.
  const one = layerNormCase({ rows: 2, time: 3, nEmbd: 1, bias: true });
  await checkCase(one, { separate: true, slack: 316 });
});
