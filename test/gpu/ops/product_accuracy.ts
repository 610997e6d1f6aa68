import { measureProduct, type Precision } from '../../../lib/native';
import { runGraph, type GraphRun } from '../../oracles/graph';
import { atStart } from '../../oracles/philox';
import type { Tensor } from '../../oracles/tensor';
import { linearCase, NODE, type OperationCase } from '../../unit/support/cases';
import { expectClose, fp32Tolerance, relativeError } from '../../unit/support/compare';
import { runNative, runOracle, SEED } from '../../unit/support/native';
import { isHalf, roundTo } from '../../unit/support/rounding';
import { tolerance } from '../support/gates';
import {
  comparedRows,
  functionCase,
  layerOf,
  longSumCase,
  randomLayers,
  toEveryType,
  withValues,
} from '../support/products';

/**
 * Matrix products as `linear` and its gradients reach them: the forward product, the gradient of the input and that of the
 * weight, with all that is fused into them. Memory is filled with NaN before each run, so what a kernel leaves unwritten, or
 * reads beyond its operands, shows.
 */

/** What the tests run on. A process reads TESSERAE_GEMM when it makes a model. */
export interface Products {
  readonly device: string;
  readonly precisions: readonly Precision[];
}

type Native = Awaited<ReturnType<typeof runNative>>;

const resultsOf = ({ value, gradients }: Native): Map<string, ArrayLike<number>> =>
  new Map([['value', value], ...gradients]);
const exactOf = ({ values, gradients }: GraphRun, name: string): Tensor =>
  name === 'value' ? values.get(NODE)! : gradients.get(name)!;

/** Layers of random sizes. */
export const testRandomLayers = ({ device, precisions }: Products): void => {
  test.each(randomLayers(20, 20_261_201).map((one) => [one.name, one] as const))('%s', async (_, one) => {
    const exact = layerOf(one);
    for (const precision of precisions) {
      const results = resultsOf(await runNative(one, { device, precision }));
      expect([...results.keys()].sort()).toEqual([...exact.keys()].sort());
      for (const [name, result] of results) {
        const reference = exact.get(name)!;
        const bound = tolerance(one, name, reference, precision);
        expectClose(`${name} in ${precision}`, result, reference.data, bound);
      }
    }
  });
};

// fp32 sums of 65,536 exact products: rounded to nearest in one chain they are 6e-6 from the exact ones.
const longSum = 1e-5;
// A tensor core cuts the last bits of a sum off each time that it adds to it, always towards zero. Emulation of sums in one chain
// gives 2.6e-8 for each addition of 16 products (of 8 in TF32): 1.05e-4 for 65,536 rows.
const cutOff = 2.6e-8;

/** The most that a weight gradient of so many rows may be off, by the kernel that computes it. */
function longSumTolerance(kernel: string, precision: Precision, rows: number): number {
  const isOneChain = precision !== 'fp32' && /^(cuBLASLt|sm80)/.test(kernel);
  return isOneChain ? 1.15 * cutOff * (rows / (isHalf(precision) ? 16 : 8)) : longSum;
}

const ROWS = 65_536;
/** The last takes as many pairs of tiles of 128 × 192 as Hopper's kernel cuts into 8 slices. */
const longSums = [
  { rows: ROWS, nIn: 8, nOut: 8, uses: 2 },
  { rows: ROWS, nIn: 40, nOut: 131, uses: 2 },
  { rows: ROWS - 37, nIn: 200, nOut: 264, uses: 1 },
  { rows: ROWS, nIn: 584, nOut: 264, uses: 1 },
] as const;

/** Gradients of weights over 65,536 rows, stored and added, compared in 16 of their rows; all of their bits repeat. */
export const testLongSums = (
  { device, precisions }: Products,
  sizes: readonly (typeof longSums)[number][] = longSums,
): void => {
  test.each(sizes)('rows=$rows in=$nIn out=$nOut uses=$uses', async (size) => {
    const one = longSumCase(size);
    const exact = comparedRows(one);
    const [m, n] = one.given.get('weight')!.shape.map((extent) => Math.ceil(extent / 8) * 8) as [
      number,
      number,
    ];
    for (const precision of precisions) {
      const request = { m, n, k: size.rows, pieces: [], result: 'float32', precision, rounds: 1 } as const;
      const [first] = await measureProduct(device, { layout: 'weightGradient', ...request });
      const gradient = async (): Promise<ArrayLike<number>> =>
        (await runNative(one, { device, precision })).gradients.get('weight')!;
      const result = await gradient();
      expect(relativeError(await gradient(), result)).toBe(0);
      expectClose(
        `${precision} by ${first!.name}`,
        comparedRows(one, result).data,
        exact.data,
        longSumTolerance(first!.name, precision, size.rows),
      );
    }
  });
};

// The smallest number and the number of fraction bits of each type's denormal numbers; TF32 has those of fp32.
const denormals = {
  fp32: [2 ** -149, 23],
  tf32: [2 ** -136, 10],
  bf16: [2 ** -133, 7],
  fp16: [2 ** -24, 10],
} as const;

/** Products of denormal numbers with normal ones. In fp16 some results are denormal too. */
export const testDenormals = ({ device, precisions }: Products): void => {
  test.each(['x', 'weight', 'dy'])('%s holds denormal numbers', async (operand) => {
    for (const precision of precisions) {
      const [least, bits] = denormals[precision];
      const scale = precision === 'fp16' ? 1 : 2 ** 20;
      const layer = linearCase({ rows: 1, time: 51, nIn: 40, nOut: 61, bias: false });
      const one = withValues(layer, (value, name) =>
        name === operand
          ? least * Math.max(1 - 2 ** bits, Math.min(2 ** bits - 1, Math.round(value * 2 ** (bits - 2))))
          : scale * toEveryType(value),
      );
      const exact = layerOf(one);
      for (const [name, result] of resultsOf(await runNative(one, { device, precision }))) {
        const bound = tolerance(one, name, exact.get(name)!, precision);
        expectClose(`${name} in ${precision}`, result, exact.get(name)!.data, bound);
      }
    }
  });
};

/** A case in which one element of an operand is another number: the first, one in the middle or the last. */
function withElement(one: OperationCase, operand: string, place: number, element: number): OperationCase {
  const at = Math.floor(place * (one.given.get(operand)!.data.length - 1));
  return withValues(one, (value, name, i) => (name === operand && i === at ? element : value));
}

interface Runs {
  /** Results of a kernel, and what they are without the element that is not finite. */
  readonly result: ArrayLike<number>;
  readonly clean: ArrayLike<number>;
  /** The exact ones. */
  readonly exact: ArrayLike<number>;
  readonly exactClean: ArrayLike<number>;
}

/** The first elements that are not what they should be. */
function wrongElements({ result, clean, exact, exactClean }: Runs): string[] {
  const wrong: string[] = [];
  for (let i = 0; i < exact.length && wrong.length < 5; i++) {
    const isFinite = Number.isFinite(exact[i]!);
    // relu has the slope 0 at NaN, which leaves a finite gradient that is another one.
    if (isFinite && exact[i] !== exactClean[i] && Number.isFinite(result[i]!)) continue;
    const expected = isFinite ? clean[i]! : exact[i]!;
    if (!Object.is(result[i], expected) && result[i] !== expected)
      wrong.push(`${i} is ${result[i]}, expected ${expected}`);
  }
  return wrong;
}

/**
 * An element that is not finite reaches what depends on it and nothing else: results are infinite or NaN where the exact ones
 * are, and have the bits of a run without that element elsewhere.
 */
async function expectContained(
  one: OperationCase,
  changes: readonly OperationCase[],
  { device, precisions }: Products,
): Promise<void> {
  const exactClean = runOracle(one);
  const exact = changes.map((changed) => runOracle(changed));
  for (const precision of precisions) {
    const run = async (of: OperationCase) => resultsOf(await runNative(of, { device, precision }));
    const clean = await run(one);
    for (const [i, changed] of changes.entries()) {
      for (const [name, result] of await run(changed)) {
        const wrong = wrongElements({
          result,
          clean: clean.get(name)!,
          exact: exactOf(exact[i]!, name).data,
          exactClean: exactOf(exactClean, name).data,
        });
        expect({ precision, change: i, name, wrong }).toMatchObject({ wrong: [] });
      }
    }
  }
}

const PLACES = [0, 0.37, 1];

/** Infinity and NaN in one element of an operand of a layer. */
export const testElements = (products: Products): void => {
  test.each(['x', 'weight', 'bias', 'dy'])('an element of %s that is not finite', async (operand) => {
    // Rows enough to cut the sums of the weight's gradient into slices.
    const layer = linearCase({ rows: 1, time: 2081, nIn: 37, nOut: 69, bias: true });
    const one = withValues(layer, toEveryType);
    const changes = [Infinity, NaN, -Infinity].map((element, i) =>
      withElement(one, operand, PLACES[i]!, element),
    );
    await expectContained(one, changes, products);
  });
};

const FUNCTIONS = ['gelu', 'gelu_new', 'relu', 'silu', 'tanh'];
const functionSizes = [
  { rows: 67, nEmbd: 40, nInner: 203 },
  { rows: 291, nEmbd: 72, nInner: 392 },
];

/** NaN in one element of an operand of two layers with a function between: in what is fused into products too. */
export const testElementsAndFunctions = (products: Products): void => {
  test.each(FUNCTIONS)('NaN and %s', async (name) => {
    const one = functionCase({ ...functionSizes[0]!, function: name });
    const changes = ['x', '0.fc', 'fc.bias', '0.proj', 'dy'].map((operand, i) =>
      withElement(one, operand, PLACES[i % PLACES.length]!, NaN),
    );
    await expectContained(one, changes, products);
  });
};

/** The logical elements of a tap, whose last axis has padding. */
function tapOf({ taps }: Native, call: string, output: string, columns: number): Float64Array {
  const { data, shape } = taps.find((tap) => tap.call === call && tap.output === output)!.value;
  const physical = shape.at(-1)!;
  return Float64Array.from(data).filter((_, i) => i % physical < columns);
}

/** The rounding floor of fp16, for log-uniform values. */
const SLOPE_ROUNDING = 2.07e-4;

/** A program that rounds every tensor. */
const plainRun = (one: OperationCase, round: (value: number) => number): GraphRun =>
  runGraph(one.graph, one.given, new Map([[NODE, one.given.get('dy')!]]), {
    train: true,
    random: atStart(SEED),
    round,
  });

/**
 * Functions behind products, and their slopes behind products of gradients. A function's value is rounded once, and so is the
 * product with a slope where one kernel computes both. The value of gelu_new in bf16 comes from a tanh with a relative error of
 * 2⁻¹¹, which is within the same gate.
 */
export const testFunctions = ({ device, precisions }: Products, others?: RegExp): void => {
  const cases = FUNCTIONS.flatMap((name) => functionSizes.map((sizes) => ({ ...sizes, function: name })));
  test.each(cases)('$function, rows=$rows in=$nEmbd out=$nInner', async (sizes) => {
    const one = functionCase(sizes);
    const exact = runOracle(one);
    for (const precision of precisions) {
      const round = roundTo[precision];
      const native = await runNative(one, { device, precision, tap: true });
      const plain = isHalf(precision) || precision === 'tf32' ? plainRun(one, round) : exact;
      const once = (of: Tensor): number =>
        isHalf(precision) ? 1.15 * relativeError(of.data.map(round), of.data) : 4 * fp32Tolerance(one.terms);
      const check = (name: string, result: ArrayLike<number>, of: Tensor, bound: number): void =>
        expectClose(`${name} in ${precision}`, result, of.data, bound);
      const calls = new Set(native.taps.map(({ operation }) => operation));

      const [pre, act, dpre] = [
        exact.values.get('pre 0')!,
        exact.values.get('act 0')!,
        exact.gradients.get('pre 0')!,
      ];
      const isActFused = !calls.has('activation');
      check('argument', tapOf(native, 'pre 0', isActFused ? 'pre' : 'y', sizes.nInner), pre, 0);
      check(
        'value of the function',
        tapOf(native, isActFused ? 'pre 0' : 'act 0', 'y', sizes.nInner),
        act,
        once(act),
      );

      const isSlopeFused = !calls.has('activation_backward');
      const plainError = (name: string): number =>
        relativeError(exactOf(plain, name).data, exactOf(exact, name).data);
      const twice = Math.max(1.15 * plainError('pre 0'), once(dpre));
      const slope = tapOf(native, isSlopeFused ? `d(${NODE})` : 'd(act 0)', 'dx', sizes.nInner);
      // cuBLASLt's own slope of gelu_new has 1.43 times the floor in bf16, measured on an H200.
      const isLibrarys = !others && precision === 'bf16' && sizes.function === 'gelu_new';
      const fused = once(dpre) * (isLibrarys ? 1.5 / 1.15 : 1);
      check('product with the slope', slope, dpre, isSlopeFused ? fused : twice);

      // Sums of a slope's product before it is rounded, or of rounded numbers.
      const areSumsFused = native.taps.some(({ output }) => output === 'columnSums');
      // Slopes that Hopper's kernel computes ahead in bf16 are kept in fp16.
      const kept = isSlopeFused && precision === 'bf16' ? SLOPE_ROUNDING : 0;
      const fp32 = isHalf(precision) ? 1e-4 : 1e-5;
      for (const [name, result] of resultsOf(native)) {
        // Tensor cores cut bits of TF32's operands off that rounding would keep.
        const bound = Math.max(fp32, (precision === 'tf32' ? 2 : 1.2) * plainError(name));
        const isSum = name === 'fc.bias' && areSumsFused;
        check(name, result, exactOf(exact, name), isSum ? fp32 + kept : bound);
      }
    }
  });
};

/** All tests of this file, of products by kernels whose names don't match `others`. */
export const testProductAccuracy = (products: Products, others?: RegExp): void => {
  test('computes products by the kernels that TESSERAE_GEMM leaves', async () => {
    const shape = { m: 264, n: 264, k: 264, pieces: [], rounds: 1 };
    for (const layout of ['forward', 'inputGradient', 'weightGradient'] as const) {
      const result = layout === 'weightGradient' ? 'float32' : 'bfloat16';
      const measured = await measureProduct(products.device, { ...shape, layout, result, precision: 'bf16' });
      expect(measured.length).toBeGreaterThan(0);
      expect(measured.filter(({ name }) => others?.test(name))).toEqual([]);
    }
  });
  describe('layers of random sizes', () => testRandomLayers(products));
  describe('weight gradients of long sums', () => testLongSums(products));
  describe('functions and slopes', () => testFunctions(products, others));
  describe('denormal numbers', () => testDenormals(products));
  describe('elements that are not finite', () => {
    testElements(products);
    testElementsAndFunctions(products);
  });
};
