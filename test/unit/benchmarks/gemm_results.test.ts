import {
  groupRuns,
  productMeans,
  productsResult,
  ratioToBest,
} from '../../../benchmarks/lib/gemm_results.mjs';
import { withPictures } from '../../../benchmarks/lib/products_page.mjs';
import { resultsPage } from '../../../benchmarks/lib/results_page.mjs';

const machine = {
  name: 'NVIDIA H200, driver 1',
  clocksMHz: [1000, 1980],
  node: '20.0.0',
  date: '2026-12-01',
};
const run = {
  kind: 'run',
  model: '124m',
  rows: 64,
  precision: 'bf16',
  device: 'cuda:0',
  machine,
  peak: 757.4e12,
  failures: [] as string[],
};

const candidates = (rates: Record<string, number>) =>
  Object.entries(rates).map(([name, rate]) => ({ name, rate: rate * 1e12, median: 1, samples: 20 }));

const product = (changes: object, rates: Record<string, number>) => ({
  kind: 'product',
  ...{ name: 'h.0', layout: 'forward', m: 64, n: 32, k: 16, pieces: [] as object[], result: 'bfloat16' },
  ...changes,
  candidates: candidates(rates),
});

const slope = product(
  { layout: 'inputGradient', pieces: [{ kind: 'slope', function: 'gelu_new' }, { kind: 'columnSums' }] },
  {
    'sm90 128 × 192': 600,
    'cuBLASLt 1': 300,
    'cuBLASLt 2': 400,
    'cuBLASLt 1 + slope': 450,
    'cuBLASLt 2 + slope': 500,
  },
);

describe('a run', () => {
  it('keeps the rates that tables show', () => {
    const result = productsResult(run, [slope, product({ unpadded: true }, { 'cuBLASLt 2': 100.04 })]);
    expect(result).toMatchObject({ suite: 'products_124m_bf16', kind: 'products', machine });
    expect(result.rows).toEqual([
      {
        ...{ layout: 'inputGradient', m: 64, n: 32, k: 16, pieces: 'slope of gelu_new, column sums' },
        ...{ own: 600e12, first: 300e12, best: 400e12, separate: 500e12 },
      },
      { ...{ layout: 'forward', m: 64, n: 32, k: 16, pieces: '' }, unpadded: true, best: 100e12 },
    ]);
  });

  it.each([
    [{ model: 'my.json' }, /those of 'my.json'; results are kept of 124m, 1.5b, 22x544/],
    [{ device: 'cpu' }, /measured on the CPU/],
    [{ failures: ['x Wᵀ by cuBLASLt 3: no'] }, /incomplete, measure them again: x Wᵀ by cuBLASLt 3: no/],
  ])('is refused with %j', (changes, message) => {
    expect(() => productsResult({ ...run, ...changes }, [slope])).toThrow(message);
  });
});

it('gives each run its products and passes other lines on', () => {
  const [second, other] = [
    { ...run, model: '1.5b' },
    { suite: 'memory', kind: 'memory' },
  ];
  expect(groupRuns([run, slope, other, second, slope, slope])).toEqual({
    runs: [
      { run, products: [slope] },
      { run: second, products: [slope, slope] },
    ],
    others: [other],
  });
  expect(() => groupRuns([slope])).toThrow(/before the line of its run/);
});

it('compares with the fastest way of cuBLASLt', () => {
  expect(ratioToBest({ own: 6, best: 3, separate: 4 })).toBe(1.5);
  expect(ratioToBest({ own: 6, best: 3 })).toBe(2);
  expect(ratioToBest({ own: 6 })).toBeUndefined();
  expect(ratioToBest({ best: 6 })).toBeUndefined();
});

it('averages ratios geometrically, each shape once, of products that have both sides', () => {
  const rows = [
    { cube: true, pieces: '', own: 9, first: 9, best: 10 },
    { pieces: '', own: 4, first: 2, best: 4 },
    { pieces: '', own: 1, first: 2, best: 4 },
    { pieces: '', own: 5, first: 1, best: 1, accumulate: true },
    { pieces: '', own: 5, first: 1, best: 1, unpadded: true },
    { pieces: 'slope', own: 6, separate: 3 },
    { pieces: 'row scale', own: 6 },
  ];
  expect(productMeans(rows)).toEqual([
    { name: '8192³', first: { mean: 1, count: 1 }, best: { mean: expect.closeTo(0.9) as unknown, count: 1 } },
    {
      name: 'products of the step without pieces',
      first: { mean: expect.closeTo(1) as unknown, count: 2 },
      best: { mean: expect.closeTo(0.5) as unknown, count: 2 },
    },
    {
      name: 'products of the step with pieces',
      first: { mean: undefined, count: 0 },
      best: { mean: expect.closeTo(2) as unknown, count: 1 },
    },
  ]);
});

const alignment = {
  suite: 'alignment',
  kind: 'alignment',
  title: 'Alignment',
  work: 'Forward products',
  machine,
  rows: [{ width: 512, precision: 'tf32', points: [{ alignment: 128, best: 99e12, by: 'plain' }] }],
};

it('makes sections of RESULTS.md', () => {
  const plus = product({ layout: 'weightGradient', accumulate: true }, { 'sm80 128 × 128': 99.5 });
  const page = resultsPage([productsResult(run, [slope, plus]), alignment]);
  const lines = page.split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      '## Matrix products of a training step of GPT-2 124M on one GPU, bf16',
      '64 rows in a micro-batch; TFLOP/s, medians of 20 samples; the peak is 757.',
      '| 8192³ |  |  |',
      '| products of the step with pieces | 2.00 (1) | 1.20 (1) |',
      '| 64 × 32 × 16 | dy W | slope of gelu_new, column sums | 600 | 300 | 400 | 500 | 1.20 |',
      '| 64 × 32 × 16 | dyᵀ x + C |  | 99.5 |  |  |  |  |',
      '| about 512² | tf32 | fastest |  |  |  |  |  |  |  | 99.0, 100 % |',
    ]),
  );
  // All rows of a table have as many cells as its head.
  for (const table of page.split('\n\n').filter((block) => block.startsWith('|')))
    expect(new Set(table.split('\n').map((line) => line.split('|').length)).size).toBe(1);
});

describe('docs/matrix_products.md', () => {
  const page =
    'A\n<!-- figures: products -->\n<!-- end of figures -->\nB\n<!-- figures: alignment -->\nold\n<!-- end of figures -->\n';

  it('shows the picture of each result', () => {
    const text = withPictures(page, [productsResult(run, [slope]), alignment]);
    expect(text.match(/!\[.*/g)).toEqual([
      '![Matrix products of a training step of GPT-2 124M on one GPU, bf16](images/products_124m_bf16.svg)',
      '![Alignment](images/alignment.svg)',
    ]);
    expect(text).not.toContain('old');
    expect(withPictures(text, [productsResult(run, [slope]), alignment])).toBe(text);
  });

  it('shows nothing without results, and needs its marks', () => {
    expect(withPictures(page, [])).toBe(page.replace('old\n', ''));
    expect(() => withPictures('A', [])).toThrow(
      /docs\/matrix_products.md has no '<!-- figures: products -->'/,
    );
  });
});
