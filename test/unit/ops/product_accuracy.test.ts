import { testDenormals, testElements, testElementsAndFunctions } from '../../gpu/ops/product_accuracy';

/** The CPU too counts denormal numbers, and keeps infinity and NaN to the results that depend on them. */

const cpu = { device: 'cpu', precisions: ['fp32'] } as const;
describe('denormal numbers', () => testDenormals(cpu));
describe('elements that are not finite', () => {
  testElements(cpu);
  testElementsAndFunctions(cpu);
});
