import { buildGraph, resolveModelConfig } from '../../../lib/models/families';
import { plan, type Precision, type TunedProduct } from '../../../lib/native';
import type { Plan, PlannedProduct } from '../../../lib/report/plan_table';
import { distinctProducts } from '../../../lib/report/product_text';
import { failureOf } from '../support/errors';
import { TINY } from '../support/tiny_model';

const WIDTH = 256;
const MODEL = resolveModelConfig({ ...TINY, nEmbd: WIDTH, nPositions: 128 });

interface Setting {
  readonly chip?: string;
  readonly precision?: Precision;
  readonly rows?: number;
}

/** The products of a step with 64 × 128 positions in bf16 on an H100. */
function productsOf(
  products: readonly object[] = [],
  { chip = 'h100', precision = 'bf16', rows = 64 }: Setting = {},
): PlannedProduct[] {
  const request = { chip, precision, rows, lengths: { time: 128 } };
  const { calls } = plan(buildGraph(MODEL), { ...request, products: products as TunedProduct[] }) as Plan;
  return distinctProducts(calls).map(({ product }) => product);
}

/** The product of attention's projection: (rows, 256) by (256, 256), with its bias. */
const PROJECTION = {
  layout: 'forward',
  m: 64 * 128,
  n: WIDTH,
  k: WIDTH,
  pieces: [{ kind: 'bias' }],
  result: 'bfloat16',
  precision: 'bf16',
} as const;

const entry = (changes: object): object => ({ ...PROJECTION, source: 'cache', seconds: 1e-5, ...changes });

const findProjection = (products: readonly PlannedProduct[]): PlannedProduct =>
  products.find(
    ({ layout, n, k, pieces }) => layout === 'forward' && n === WIDTH && k === WIDTH && pieces.length === 1,
  )!;

const projection = (products: readonly object[], setting: Setting = {}): PlannedProduct =>
  findProjection(productsOf(products, setting));

it('chooses by the rule without a table', () => {
  const { kernel, source, expectedSeconds } = projection([]);
  expect({ kernel, source, expectedSeconds }).toEqual({
    kernel: 'cuBLASLt',
    source: 'rule',
    expectedSeconds: undefined,
  });
});

it.each(['sm90 128 × 192', 'sm80 128 × 128', 'cuBLASLt', 'cuBLASLt 1', 'cuBLASLt 16'])(
  'takes %s from the entry of the product, and changes no other product',
  (kernel) => {
    const before = productsOf();
    const after = productsOf([entry({ kernel })]);
    expect(findProjection(after)).toMatchObject({ kernel, source: 'cache', expectedSeconds: 1e-5 });
    const others = (products: PlannedProduct[]): PlannedProduct[] =>
      products.filter((one) => one !== findProjection(products));
    expect(others(after)).toEqual(others(before));
  },
);

it.each<[string, object]>([
  ['layout', { layout: 'inputGradient', pieces: [] }],
  ['pieces', { pieces: [] }],
  ['type of C', { result: 'float32' }],
  ['precision', { precision: 'fp16', result: 'float16' }],
])('takes no entry of another %s', (_, changes) => {
  expect(projection([entry({ kernel: 'sm80 128 × 128', ...changes })]).source).toBe('rule');
});

describe('entries of other extents', () => {
  const kernel = 'sm80 128 × 128';

  it.each<[string, object]>([
    ['1.4 times the rows', { m: 11_400 }],
    ['0.72 times the rows', { m: 5900 }],
    ['1.18 times the columns', { n: 302 }],
    ['0.85 times the length of the sums', { k: 218 }],
  ])('apply with %s', (_, changes) => {
    const found = projection([entry({ kernel, ...changes })]);
    const { m, n, k } = { ...PROJECTION, ...changes };
    expect(found).toMatchObject({ kernel, source: 'cache' });
    // The time is scaled by the operations.
    expect(found.expectedSeconds).toBeCloseTo((1e-5 * 8192 * WIDTH * WIDTH) / (m * n * k), 12);
  });

  it.each<[string, object]>([
    ['1.5 times the rows', { m: 12_288 }],
    ['half of the rows', { m: 4096 }],
    ['1.2 times the columns', { n: 308 }],
    ['0.8 times the length of the sums', { k: 204 }],
  ])('do not apply with %s', (_, changes) => {
    expect(projection([entry({ kernel, ...changes })]).source).toBe('rule');
  });

  it('apply by the rows for the gradient of a weight, whose sums run over them', () => {
    const gradient = { layout: 'weightGradient', m: WIDTH, n: WIDTH, pieces: [], result: 'float32' };
    const sourceOf = (changes: object): string =>
      productsOf([entry({ ...gradient, kernel, ...changes })]).find(
        ({ layout, m, n }) => layout === 'weightGradient' && m === WIDTH && n === WIDTH,
      )!.source;
    expect(sourceOf({ k: 11_400 })).toBe('cache');
    expect(sourceOf({ k: 12_288 })).toBe('rule');
    expect(sourceOf({ k: 8192, m: 308 })).toBe('rule');
  });

  it('yield to a nearer entry, by the extents of the weight first', () => {
    const near = entry({ kernel: 'sm90 128 × 192', m: 11_000 });
    const other = entry({ kernel, n: 264 });
    for (const table of [
      [near, other],
      [other, near],
    ])
      expect(projection(table).kernel).toBe('sm90 128 × 192');
    expect(projection([near, other, entry({ kernel: 'cuBLASLt 2' })]).kernel).toBe('cuBLASLt 2');
  });

  it("say that the library is faster, but not by which of its algorithms: that is another product's list", () => {
    const found = projection([entry({ kernel: 'cuBLASLt 7', m: 8320 })]);
    expect(found).toMatchObject({ kernel: 'cuBLASLt', source: 'cache' });
    expect(found.expectedSeconds).toBeUndefined();
  });

  it('of a checkpoint never apply', () => {
    const saved = { kernel, source: 'checkpoint' };
    expect(projection([entry({ ...saved, m: 8320 })]).source).toBe('rule');
    expect(projection([entry(saved)])).toMatchObject({ kernel, source: 'checkpoint' });
  });
});

it('takes the entry of a checkpoint before that of the cache, and that before the shipped one', () => {
  const [shipped, cache, checkpoint] = [
    entry({ source: 'shipped', kernel: 'cuBLASLt 1' }),
    entry({ source: 'cache', kernel: 'cuBLASLt 2' }),
    entry({ source: 'checkpoint', kernel: 'cuBLASLt 3' }),
  ];
  expect(projection([shipped]).kernel).toBe('cuBLASLt 1');
  expect(projection([shipped, cache]).kernel).toBe('cuBLASLt 2');
  expect(projection([checkpoint, cache, shipped]).kernel).toBe('cuBLASLt 3');
});

describe('a kernel that can not compute the product', () => {
  it.each<[string, string, Setting]>([
    ['does not exist in this release', 'sm90 512 × 512', {}],
    ['is beyond the list of the library', 'cuBLASLt 17', {}],
    ['is for another chip', 'sm90 128 × 192', { chip: 'a100' }],
    ['is for other types', 'plain', {}],
  ])('that %s is named, and the rule chooses', (_, kernel, setting) => {
    const found = projection([entry({ kernel })], setting);
    expect(found).toMatchObject({ source: 'rule', unavailable: kernel, kernel: 'cuBLASLt' });
  });

  it('is what only another kernel fuses', () => {
    const fused = productsOf([], { rows: 4096 }).find(({ pieces }) =>
      pieces.some(({ kind }) => kind === 'columnSums'),
    )!;
    const { layout, m, n, k, pieces, result } = fused;
    const table = [entry({ layout, m, n, k, pieces, result, kernel: 'cuBLASLt 1' })];
    const found = productsOf(table, { rows: 4096 }).find(({ pieces: own }) =>
      own.some(({ kind }) => kind === 'columnSums'),
    );
    expect(found).toMatchObject({ kernel: fused.kernel, source: 'rule', unavailable: 'cuBLASLt 1' });
  });
});

it.each<[string, object, RegExp]>([
  ['a source', { kernel: 'plain', source: 'rule' }, /plan\.products\.source is 'rule'/],
  ['a time', { kernel: 'plain', seconds: -1 }, /plan\.products\.seconds is -1/],
  ['a layout', { kernel: 'plain', layout: 'sideways' }, /plan\.products\.layout is 'sideways'/],
  ['a piece', { kernel: 'plain', pieces: [{ kind: 'tie' }] }, /plan\.products\.pieces has a kind 'tie'/],
  ['an extent', { kernel: 'plain', m: 0 }, /plan\.products.*m/],
  ['an unknown field', { kernel: 'plain', speed: 1 }, /speed/],
])('refuses an entry with %s that is wrong', async (_, changes, message) => {
  expect((await failureOf('ERR_CONFIG', () => productsOf([entry(changes)]))).message).toMatch(message);
});

it('plans the same memory by any kernel', () => {
  const bytes = (products: readonly object[]): unknown => {
    const request = { chip: 'h100', precision: 'bf16', rows: 64, lengths: { time: 128 } } as const;
    return (plan(buildGraph(MODEL), { ...request, products: products as TunedProduct[] }) as Plan).totalBytes;
  };
  expect(bytes([entry({ kernel: 'sm80 128 × 128' })])).toBe(bytes([]));
});
