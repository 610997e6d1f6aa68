import { logSoftmaxCase } from '../support/cases';
import { checkCase } from '../support/native';

test.each([
  [1, 1, 1],
  [3, 17, 7],
  [2, 31, 250],
])('log_softmax: rows %d, time %d, vocabulary %d', async (rows, time, vocabSize) => {
  await checkCase(logSoftmaxCase({ rows, time, vocabSize }), { eval: true });
});
