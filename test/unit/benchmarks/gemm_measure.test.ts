import { measureAll, reportFailures, unitOf } from '../../../benchmarks/lib/gemm_measure.mjs';
import type { measureProduct } from '../../../lib/native';

const product = (n: number) => ({
  layout: 'forward',
  m: 10,
  n,
  k: 50,
  pieces: [],
  result: 'float32',
  precision: 'fp32',
});

it('summarizes the seconds of each candidate', async () => {
  const seconds = Array.from({ length: 20 }, (_, i) => (20 - i) * 1e-3);
  const measure = async () => [{ name: 'oneDNN', seconds }];
  const { results, failures } = await measureAll('cpu', [product(4)], { samples: 20, measure });
  expect(failures).toEqual([]);
  expect(results).toEqual([
    {
      ...product(4),
      // 2 · 10 · 4 · 50 operations in 11 ms
      candidates: [
        { name: 'oneDNN', rate: 4000 / 0.011, median: 0.011, low: 0.003, high: 0.019, samples: 20 },
      ],
    },
  ]);
});

it('goes on after a product that fails, and says which one it was', async () => {
  const measure: typeof measureProduct = async (_, { n }) => {
    if (n === 2) throw Object.assign(new Error('out of memory'), { code: 'ERR_OUT_OF_MEMORY' });
    return [{ name: 'oneDNN', seconds: [1] }];
  };
  const products = [product(1), product(2), product(3)];
  const { results, failures } = await measureAll('cpu', products, { samples: 1, measure });
  expect(results.map(({ n }) => n)).toEqual([1, 3]);
  expect(failures).toEqual(['x Wᵀ of 10 × 2 × 50 in fp32: ERR_OUT_OF_MEMORY: out of memory']);
});

it('keeps the other candidates of a product if one fails', async () => {
  const measure = async () => [
    { name: 'cuBLASLt 1', seconds: [], error: 'no kernel' },
    { name: 'cuBLASLt 2', seconds: [1] },
  ];
  const { results, failures } = await measureAll('cpu', [product(1)], { samples: 1, measure });
  expect(results[0]?.candidates.map(({ name }) => name)).toEqual(['cuBLASLt 2']);
  expect(failures).toEqual(['x Wᵀ of 10 × 1 × 50 in fp32 by cuBLASLt 1: no kernel']);
});

it('measures a product on the CPU, and lists one that the CPU lacks', async () => {
  const products = [product(8), { ...product(8), result: 'bfloat16' }];
  const { results, failures } = await measureAll('cpu', products, { samples: 2 });
  expect(results).toHaveLength(1);
  expect(results[0]?.candidates[0]).toMatchObject({ name: 'oneDNN', samples: 2 });
  expect(failures[0]).toMatch(/^x Wᵀ of 10 × 8 × 50 in fp32: ERR_\w+: product.result is bfloat16/);
});

it('exits with 1 only if something failed', () => {
  const { exitCode } = process;
  const print = jest.spyOn(console, 'error').mockImplementation();
  reportFailures([]);
  expect([process.exitCode, print.mock.calls.length]).toEqual([exitCode, 0]);
  reportFailures(['x Wᵀ of 1 × 1 × 1 in fp32: no']);
  expect(process.exitCode).toBe(1);
  expect(print.mock.calls.flat().join('\n')).toContain('  x Wᵀ of 1 × 1 × 1 in fp32: no');
  process.exitCode = exitCode;
  print.mockRestore();
});

it('formats rates in the unit of the device', () => {
  expect([unitOf('cpu').unit, unitOf('cpu').format(91.4e9)]).toEqual(['GFLOP/s', '91']);
  expect([unitOf('cuda').unit, unitOf('cuda').format(91.4e12)]).toEqual(['TFLOP/s', '91.4']);
  expect(unitOf('cuda').format(757.2e12)).toBe('757');
});
