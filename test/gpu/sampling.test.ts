import {
  checkAlone,
  checkLogProbs,
  checkPadding,
  checkSampling,
  samplingCases,
} from '../unit/support/sampling_cases';

const device = 'cuda:0';

describe('fp32', () => {
  const where = { device, precision: 'fp32' } as const;

  test.each(samplingCases)('%s', (_, one) => checkSampling(one, where));

  test('log-probabilities are those of the model, whatever the options', () => checkLogProbs(where));
});

describe.each(['fp32', 'tf32', 'bf16', 'fp16'] as const)('%s', (precision) => {
  test.each([0, 0.01, 1, 100, 1e6])('no token of the padding is chosen at temperature %p', (temperature) =>
    checkPadding(temperature, { device, precision }),
  );

  test('a row samples the same beside others as alone', () => checkAlone({ device, precision }));
});
