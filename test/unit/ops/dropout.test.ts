import { dropoutCase } from '../support/cases';
import { checkCase, runNative } from '../support/native';

test.each([
  [1, 1, 1, 0.5],
  [3, 17, 7, 0.1],
  [2, 37, 545, 0.9],
  [5, 13, 64, 0.3],
])('dropout: rows %d, time %d, width %d, p %d', async (rows, time, nEmbd, p) => {
  await checkCase(dropoutCase({ rows, time, nEmbd, p }));
});

test('the mask is the same on one thread and on two, and for any padding', async () => {
  const one = dropoutCase({ rows: 4, time: 9, nEmbd: 37, p: 0.4 });
  const plain = await runNative(one, { threads: 1 });
  expect(await runNative(one, { threads: 2 })).toEqual(plain);
  for (const padding of [{ width: 32 }, 'chip'] as const)
    expect(await runNative(one, { padding })).toEqual(plain);
});

test('evaluation drops nothing', async () => {
  await checkCase(dropoutCase({ rows: 2, time: 3, nEmbd: 10, p: 0.5 }), { eval: true });
});
