import { linearCase, mlpsCase, normedLinearCase } from '../support/cases';
import { checkCase } from '../support/native';

test.each([
  [1, 1, 1, 1, true],
  [1, 3, 7, 8, true],
  [1, 17, 8, 7, false],
  [3, 37, 64, 192, true],
  [113, 1, 1, 545, true],
  [1, 199, 545, 136, true],
  [2, 100, 250, 65, false],
])('linear: rows %d, time %d, in %d, out %d, bias %s', async (rows, time, nIn, nOut, bias) => {
  await checkCase(linearCase({ rows, time, nIn, nOut, bias }));
});

test('linear: more rows than one block of every kind, in separate allocations', async () => {
  await checkCase(linearCase({ rows: 5, time: 239, nIn: 48, nOut: 100, bias: true }), { separate: true });
});

test('linear: layers with an activation between them and a shared bias', async () => {
  const sizes = { rows: 3, time: 37, nEmbd: 24, nInner: 61, function: 'gelu_new', pairs: 2 };
  await checkCase(mlpsCase(sizes), { slack: 4 }); // several products, one after another
});

test('linear: before a norm', async () => {
  await checkCase(normedLinearCase({ rows: 3, time: 37, nIn: 24, nOut: 61 }), { slack: 4 });
});
