import { crossEntropyCase } from '../support/cases';
import { checkCase } from '../support/native';

describe.each([0, 0.1])('label smoothing %d', (labelSmoothing) => {
  test.each([
    [1, 1, 2, false],
    [1, 17, 7, true],
    [3, 37, 65, false],
    [2, 113, 250, true],
    [1, 199, 1000, true],
  ])('cross_entropy: rows %d, time %d, vocabulary %d, ignored %s', async (rows, time, vocabSize, ignored) => {
    await checkCase(crossEntropyCase({ rows, time, vocabSize, ignored }), { labelSmoothing });
  });
});

test('in separate allocations', async () => {
  await checkCase(crossEntropyCase({ rows: 3, time: 7, vocabSize: 11, ignored: true }), { separate: true });
});

test('evaluation does not smooth', async () => {
  const one = crossEntropyCase({ rows: 3, time: 7, vocabSize: 11, ignored: true });
  await checkCase(one, { eval: true, labelSmoothing: 0.3 });
});
