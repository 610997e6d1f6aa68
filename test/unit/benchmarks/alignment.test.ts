import {
  ALIGNMENTS,
  alignedProducts,
  alignmentSeries,
  alignmentTable,
} from '../../../benchmarks/lib/alignment.mjs';
import { alignmentChart } from '../../../benchmarks/lib/alignment_chart.mjs';

const format = (rate: number): string => (rate / 1e12).toFixed(0);

/** The highest power of two that divides a number. */
const alignmentOf = (value: number): number => value & -value;

describe('the products', () => {
  const products = alignedProducts({ rows: 64, widths: [512, 2048], precisions: ['bf16', 'tf32'] });

  it('have extents of exactly their alignment', () => {
    expect(products).toHaveLength(2 * 2 * ALIGNMENTS.length);
    for (const { n, k, alignment } of products)
      expect([alignmentOf(n), alignmentOf(k)]).toEqual([alignment, alignment]);
  });

  it.each([
    [512, 0.063],
    [2048, 0.004],
  ])('of width %d differ in useful work by less than %d', (width, most) => {
    for (const { n, k } of products.filter((one) => one.width === width)) {
      expect((n * k) / width ** 2).toBeLessThan(1);
      expect((n * k) / width ** 2).toBeGreaterThan(1 - most);
    }
  });

  it('store the type of their precision', () => {
    const types = new Set(products.map(({ precision, result }) => `${precision} ${result}`));
    expect([...types]).toEqual(['bf16 bfloat16', 'tf32 float32']);
  });
});

/** Products in bf16 and fp32 whose rates, in TFLOP/s, are their alignments; cuBLASLt reaches half of that in bf16. */
const measured = alignedProducts({ rows: 64, widths: [512], precisions: ['bf16', 'fp32'] }).map(
  (product) => ({
    ...product,
    candidates: [
      { name: 'plain', rate: product.alignment * 1e12 },
      ...(product.precision === 'bf16' ? [{ name: 'cuBLASLt 1', rate: product.alignment * 5e11 }] : []),
    ],
  }),
);

it('takes the fastest kernel and the first choice of cuBLASLt, with four digits', () => {
  const candidates = [
    { name: 'cuBLASLt 1', rate: 123456 },
    { name: 'cuBLASLt 2', rate: 234567 },
  ];
  expect(alignmentSeries([{ width: 512, precision: 'bf16', alignment: 4, candidates }])).toEqual([
    {
      width: 512,
      precision: 'bf16',
      points: [{ alignment: 4, best: 234600, by: 'cuBLASLt 2', first: 123500 }],
    },
  ]);
});

it('leaves out a product that nothing computed', () => {
  const series = alignmentSeries([
    { width: 512, precision: 'bf16', alignment: 4, candidates: [] },
    { width: 512, precision: 'bf16', alignment: 8, candidates: [{ name: 'plain', rate: 1 }] },
  ]);
  expect(series[0]?.points).toEqual([{ alignment: 8, best: 1, by: 'plain' }]);
});

it('makes a table of rates and their shares of the rate at the largest alignment', () => {
  const { titles, rows } = alignmentTable(alignmentSeries(measured), format);
  expect(titles).toEqual(['weight', 'precision', 'kernel', '1', '2', '4', '8', '16', '32', '64', '128']);
  expect(rows.map((row) => [...row.slice(0, 4), row.at(-2), row.at(-1)])).toEqual([
    ['about 512²', 'bf16', 'fastest', '1, 1 %', '64, 50 %', '128, 100 %'],
    ['about 512²', 'bf16', 'cuBLASLt 1', '1, 1 %', '32, 50 %', '64, 100 %'],
    ['about 512²', 'fp32', 'fastest', '1, 1 %', '64, 50 %', '128, 100 %'],
  ]);
});

it('leaves the cells of missing rates empty, and shares without the largest alignment', () => {
  const series = alignmentSeries(measured.filter(({ alignment }) => alignment === 8));
  const [row] = alignmentTable(series, format).rows;
  expect(row?.slice(3)).toEqual(['', '', '', '8', '', '', '', '']);
});

describe('the chart', () => {
  const draw = (products: typeof measured): string =>
    alignmentChart(alignmentSeries(products), { title: 'A & B', note: 'one < two', format });

  it('has a line for each precision, a dashed one for cuBLASLt, and rings at the rule', () => {
    const svg = draw(measured);
    expect(svg).toContain('>A &amp; B<');
    expect(svg).toContain('>one &lt; two<');
    expect(svg.match(/<path/g)).toHaveLength(3);
    expect(svg.match(/<path[^>]*dasharray/g)).toHaveLength(1);
    expect(svg.match(/<circle[^>]*>/g)).toHaveLength(2 * ALIGNMENTS.length + 1); // one in the legend
    expect([...svg.matchAll(/r="5.5"[^>]*><title>([^<]*)/g)].map(([, title]) => title)).toEqual([
      'bf16, 8: 8 by plain',
      'bf16, 64: 64 by plain',
    ]);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('puts higher rates higher and wider alignments to the right', () => {
    const points = [...draw(measured).matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>bf16/g)];
    const [x, y] = [1, 2].map((i) => points.map((match) => Number(match[i])));
    expect(x).toEqual(x!.toSorted((a, b) => a - b));
    expect(y).toEqual(y!.toSorted((a, b) => b - a));
    expect(points).toHaveLength(ALIGNMENTS.length);
  });

  it('draws what there is if products are missing', () => {
    const svg = draw(measured.filter(({ alignment, precision }) => alignment > 2 && precision === 'fp32'));
    expect(svg.match(/<path/g)).toHaveLength(1);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });
});
