import { measureProduct, type ProductRequest } from '../../../lib/native';
import { gpu } from '../support/gpu';

const request: ProductRequest = {
  layout: 'forward',
  ...{ m: 1024, n: 768, k: 512 },
  pieces: [{ kind: 'bias' }, { kind: 'keepInput' }, { kind: 'activation', function: 'gelu_new' }],
  result: 'bfloat16',
  precision: 'bf16',
  rounds: 3,
};

async function namesOf(changes: Partial<ProductRequest>): Promise<string[]> {
  const measured = await measureProduct(gpu, { ...request, ...changes });
  for (const { seconds } of measured) {
    expect(seconds).toHaveLength(3);
    for (const one of seconds) expect(one).toBeGreaterThan(0);
  }
  return measured.map(({ name }) => name);
}

it('measures cuBLASLt with an activation, and before the kernel of the activation', async () => {
  const names = await namesOf({});
  expect(names).toContain('cuBLASLt 1');
  expect(names).toContain('cuBLASLt 1 + activation');
  expect(new Set(names).size).toBe(names.length);
});

it('measures a slope in and behind the product', async () => {
  const pieces = [{ kind: 'slope', function: 'gelu_new' }] as const;
  const names = await namesOf({ layout: 'inputGradient', pieces });
  expect(names).toContain('cuBLASLt 1');
  expect(names).toContain('cuBLASLt 1 + slope');
});

it('measures a slope with column sums, which cuBLASLt leaves out', async () => {
  const pieces = [{ kind: 'slope', function: 'gelu_new' }, { kind: 'columnSums' }] as const;
  const names = await namesOf({ layout: 'inputGradient', pieces });
  expect(names).toEqual(expect.arrayContaining(['cuBLASLt 1', 'cuBLASLt 1 + slope']));
});

it.each([false, true])('measures weight gradients (accumulate: %j)', async (accumulate) => {
  const names = await namesOf({ layout: 'weightGradient', pieces: [], result: 'float32', accumulate });
  expect(names).toEqual(expect.arrayContaining(['cuBLASLt 1', 'sm80 128 × 128']));
});

it.each([
  ['fp32', 'float32'],
  ['tf32', 'float32'],
  ['fp16', 'float16'],
] as const)('measures products in %s, rows without alignment among them', async (precision, result) => {
  const pieces = [{ kind: 'bias' }] as const;
  expect(await namesOf({ precision, result, pieces })).toContain('cuBLASLt 1');
  expect(await namesOf({ precision, result, pieces, n: 771, k: 509 })).toContain('plain');
});
