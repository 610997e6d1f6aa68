import { activationCase } from '../support/cases';
import { checkCase } from '../support/native';

describe.each(['gelu', 'gelu_new', 'relu', 'silu', 'tanh'])('%s', (name) => {
  test.each([
    [1, 1, 1],
    [1, 17, 7],
    [113, 1, 8],
    [1, 199, 137],
  ])('rows %d, time %d, width %d', async (rows, time, nEmbd) => {
    await checkCase(activationCase({ rows, time, nEmbd, name }));
  });
});
