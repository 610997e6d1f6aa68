import {
  checkAlone,
  checkLogProbs,
  checkPadding,
  checkSampling,
  samplingCases,
} from '../support/sampling_cases';

test.each(samplingCases)('%s', (_, one) => checkSampling(one));

test('log-probabilities are those of the model, whatever the options', () => checkLogProbs());

test.each([0, 0.01, 1, 100, 1e6])('no token of the padding is chosen at temperature %p', (temperature) =>
  checkPadding(temperature),
);

test("no token of the chip's padding is chosen", () => checkPadding(1, { padding: 'chip' }));

test('a row samples the same tokens alone and among other rows', () => checkAlone());
