import { gemmChart } from '../../../benchmarks/lib/gemm_chart.mjs';
import { gemmTable } from '../../../benchmarks/lib/gemm_table.mjs';

const format = (rate: number): string => rate.toFixed(0);

const product = (changes: object, rates: Record<string, number>) => ({
  ...{ layout: 'forward', m: 64, n: 32, k: 16, pieces: [] as object[] },
  ...changes,
  candidates: Object.entries(rates).map(([name, rate]) => ({ name, rate })),
});

const products = [
  product({}, { 'sm90 128 × 192': 90, 'cuBLASLt 1': 100, 'cuBLASLt 2': 40 }),
  product(
    { pieces: [{ kind: 'activation', function: 'gelu_new' }] },
    { 'cuBLASLt 1 + activation': 50, 'cuBLASLt 3 + activation': 60, 'sm90 128 × 192': 80 },
  ),
];

describe('the heat map', () => {
  const svg = gemmChart(products, { title: 'A & B', note: 'one < two', peak: 100, format });

  it('has a cell for each rate and grey where there is none', () => {
    expect(svg.match(/<rect[^>]*><title>/g)).toHaveLength(5);
    expect(svg.match(/<rect[^>]*fill="#f0f0f0"\/>/g)).toHaveLength(3);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('numbers the algorithms of cuBLASLt and shows the fastest with a kernel after it', () => {
    expect([...svg.matchAll(/text-anchor="middle">(\d)</g)].map(([, number]) => number)).toEqual(['1', '2']);
    expect([...svg.matchAll(/rotate\(-50\)">([^<]*)/g)].map(([, name]) => name)).toEqual([
      'sm90 128 × 192',
      'and a kernel',
    ]);
    expect(svg).toContain('<title>and a kernel: 60.0 % of the peak</title>');
  });

  it('underlines the fastest of a row', () => {
    const underlined = [...svg.matchAll(/text-decoration="underline">(\d+)/g)].map(([, rate]) => rate);
    expect(underlined).toEqual(['100', '80']);
  });

  it('writes light text on dark cells and dark text on light ones', () => {
    const colours = new Map(
      [...svg.matchAll(/fill="(#\w+)"[^>]*>(\d+)<\/text>/g)].map(([, fill, rate]) => [rate, fill]),
    );
    expect([colours.get('100'), colours.get('90'), colours.get('40')]).toEqual(['#fff', '#fff', '#111']);
  });

  it('says what a row is, however long that is, left of its cells', () => {
    const long = product({ pieces: [{ kind: 'slope', function: 'x'.repeat(80) }] }, { plain: 1 });
    const wide = gemmChart([long], { title: '', note: '', peak: 1, format });
    const cell = Number(/<rect x="([\d.]+)"[^>]*><title>/.exec(wide)?.[1]);
    const text = Number(/<text x="([\d.]+)" y="\d+">slope of x/.exec(wide)?.[1]);
    expect(cell - text).toBeGreaterThan(89 * 7);
    expect(Number(/width="([\d.]+)" height/.exec(wide)?.[1])).toBeGreaterThan(cell + 46);
  });

  it('draws a CPU’s products, which have no cuBLASLt', () => {
    const cpu = gemmChart([product({}, { oneDNN: 1 })], { title: '', note: '', peak: 1, format });
    expect(cpu).not.toContain('cuBLASLt');
    expect(cpu).not.toMatch(/NaN|undefined|Infinity/);
  });
});

it('makes a table of rates, cuBLASLt’s best with their numbers, and the ratio', () => {
  const lines = gemmTable(products, { peak: 100, format }).split('\n');
  expect(lines.slice(2).map((line) => line.split(/ {2,}/))).toEqual([
    ['64 × 32 × 16', 'x Wᵀ', '90', '100', '100 (1)', '0.90', '90 %', '100 %'],
    ['64 × 32 × 16', 'x Wᵀ', 'gelu_new', '80', '60 (3)', '1.33', '80 %', '80 %'],
  ]);
});
