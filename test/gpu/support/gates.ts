import type { Precision, RunResult } from '../../../lib/native';
import { beside, columns, seenBy } from '../../oracles/attention';
import { attention16 } from '../../oracles/attention16';
import type { GraphRun } from '../../oracles/graph';
import { linearBackward } from '../../oracles/linear';
import { atStart } from '../../oracles/philox';
import { tensor, type Tensor } from '../../oracles/tensor';
import { NODE, type OperationCase } from '../../unit/support/cases';
import { expectClose, fp32Tolerance, relativeError } from '../../unit/support/compare';
import { runNative, runOracle, SEED, type CaseOptions } from '../../unit/support/native';
import { isHalf, roundTo } from '../../unit/support/rounding';
import { expectFlash } from './flash';
import { gpu } from './gpu';
import { rounded } from './rounded';

// How far a result in a 16-bit type may be from the exact one, in multiples of its rounding floor: the error of the
// oracle's own result, rounded. Operations compute in fp32 and round once; they differ by fp32 arithmetic (1e-6 to
// 1e-5, against a floor of 1.7e-3 in bf16 and 2.1e-4 in fp16) and by the functions that a GPU approximates.
const floors: Readonly<Record<string, number>> = {
  linear: 1.1,
  activation: 1.15,
  layer_norm: 1.2, // the mean is subtracted in fp32
  cross_entropy: 1.2, // p − 1 cancels
};
const plainFloor = 1.1;

// Beyond these a matrix product with fp32 sums has a bug, whatever its operands: 1.15 times the floor of normals.
// Tensors with fewer elements than the second number have floors that differ too much from it.
const productCaps = { bf16: 1.9e-3, fp16: 2.4e-4 } as const;
const productCapElements = 4096;

// fp32 sums of exact products. Tensor cores cut the sums' last bits off instead of rounding, cuBLAS's too.
const productSum = 1e-5;
// Other fp32 results of 16-bit inputs: gradients of biases, of norms and of tables, statistics.
const fp32Sum = 1e-4;
const statistics = 1e-5;
const meanLoss = 1e-5;

/** ‖round(exact) − exact‖ / ‖exact‖ */
const floorOf = (exact: ArrayLike<number>, precision: Precision): number =>
  relativeError(Float64Array.from(exact, roundTo[precision]), exact);

function outputOf(taps: RunResult['taps'], output: string): ArrayLike<number> | undefined {
  return taps.find((tap) => tap.output === output && tap.call.startsWith(NODE))?.value.data;
}

/** Compares a case on the GPU with its oracles, at the gates of its precision. Memory is poisoned. */
export async function checkOnGpu(
  source: OperationCase,
  precision: Precision,
  options: Pick<CaseOptions, 'eval' | 'labelSmoothing' | 'slack'> = {},
): Promise<void> {
  const one = rounded(source, precision);
  const oracle = runOracle(one, options);
  const native = await runNative(one, { ...options, device: gpu, precision, tap: true });
  const op = one.graph.nodes.find(({ name }) => name === NODE)!.op;
  const exact = (name: string): Tensor =>
    name === 'value' ? oracle.values.get(NODE)! : oracle.gradients.get(name)!;
  const results = new Map([['value', native.value], ...native.gradients]);

  if (op === 'cross_entropy') {
    // The sum of a loss in nats and the number of targets that count: their mean, absolutely.
    const [sum, valid] = [exact('value').data[0]!, exact('value').data[1]!];
    expect(native.value[1]).toBe(valid);
    expect(Math.abs(native.value[0]! - sum) / valid).toBeLessThanOrEqual(meanLoss);
    results.delete('value');
  }
  if (op === 'attention' && !options.eval) checkLse(one, outputOf(native.taps, 'lse'), options.slack ?? 1);
  if (op === 'layer_norm' && !options.eval) checkStatistics(one, native.taps);
  if (op === 'attention' && isHalf(precision)) {
    checkFlash(one, oracle, results, precision);
    return;
  }
  for (const [name, result] of results) {
    const what = name === 'value' ? 'value' : `d(${name})`;
    expectClose(what, result, exact(name).data, tolerance(one, name, exact(name), precision, options));
  }
}

/** The largest relative distance of a result from the exact one, in Frobenius norm. */
export function tolerance(
  one: OperationCase,
  name: string,
  exact: Tensor,
  precision: Precision,
  { slack = 1 }: Pick<CaseOptions, 'slack'> = {},
): number {
  const op = one.graph.nodes[0]!.op;
  const isParameter = one.graph.parameters.some((parameter) => parameter.name === name);
  const isLoss = 'loss' in one.graph.outputs;
  // The order of sums and fused multiply-adds differ from the CPU's, so four times its bound.
  if (precision === 'fp32' || (precision === 'tf32' && op !== 'linear')) {
    return 4 * fp32Tolerance(one.terms) * slack;
  }
  if (op === 'linear' && isLoss) return linearCrossEntropyTolerance(one, name, precision);
  if (precision === 'tf32') return productSum;
  if (isParameter) return op === 'linear' && name === 'weight' ? productSum : fp32Sum;
  const floor = (floors[op] ?? plainFloor) * floorOf(exact.data, precision);
  const isCapped = op === 'linear' && exact.data.length >= productCapElements;
  return isCapped ? Math.min(floor, productCaps[precision]) : floor;
}

/**
 * The output layer and its loss round the gradient of the logits on its way to the gradients of x and of the weight:
 * 1.2 times what that alone does to them. In tf32 twice that, because tensor cores cut bits off that rounding would keep.
 * In bf16 Hopper's kernel multiplies x by a number of its row on its way to the gradient of the weight, which rounds it too.
 */
function linearCrossEntropyTolerance(one: OperationCase, name: string, precision: Precision): number {
  const oracle = runOracle(one);
  const round = roundTo[precision];
  const dlogits = oracle.gradients.get('head')!;
  const [x, weight] = [one.given.get('x')!, one.given.get('weight')!];
  const nEmbd = x.shape.at(-1)!;
  const factors = rowMaxima(dlogits);
  const scaled = (value: number, i: number): number => {
    const factor = factors[Math.floor(i / nEmbd)]!;
    return factor > 0 ? round(value * factor) / factor : value;
  };
  const scaledX = precision === 'bf16' ? { ...x, data: x.data.map(scaled) } : x;
  const emulated = linearBackward({ ...dlogits, data: dlogits.data.map(round) }, scaledX, weight);
  const result =
    name === 'x' ? emulated.dx.data.map(isHalf(precision) ? round : (value) => value) : emulated.dweight.data;
  return (precision === 'tf32' ? 2 : 1.2) * relativeError(result, oracle.gradients.get(name)!.data);
}

/** The largest magnitude of each row. */
function rowMaxima({ data, shape }: Tensor): number[] {
  const columns = shape.at(-1)!;
  return Array.from({ length: data.length / columns }, (_, row) =>
    data
      .slice(row * columns, (row + 1) * columns)
      .reduce((most, value) => Math.max(most, Math.abs(value)), 0),
  );
}

/** What the oracles of attention take for a case. */
function attentionOf(one: OperationCase) {
  const attributes = one.graph.nodes[0]!.attributes ?? {};
  const sizesOf = (axis: string): number[] =>
    one.graph.axes.find(({ name }) => name === axis)!.factors.map(({ size }) => size);
  const qkv = one.given.get('qkv');
  const [heads, headDim] = sizesOf(qkv ? 'qkv' : 'q').slice(-2) as [number, number];
  const width = heads * headDim;
  const q = qkv ? columns(qkv, 0, width) : one.given.get('q')!;
  const kv = qkv ? columns(qkv, width, 3 * width) : one.given.get('kv')!;
  const p = Number(attributes['dropout'] ?? 0);
  const options = {
    heads,
    kvHeads: qkv ? heads : sizesOf('kv')[1]!,
    headDim,
    scale: Number(attributes['scale'] ?? 1 / Math.sqrt(headDim)),
    sees: seenBy({
      queries: q.shape[1]!,
      keys: kv.shape[1]!,
      causal: attributes['causal'] === true,
      lengths: one.given.get('lengths'),
      lengthsOfQueries: qkv !== undefined,
      starts: one.given.get('starts'),
      keyBegin: one.given.get('keyBegin'),
      keyEnd: one.given.get('keyEnd'),
    }),
    dropout: p > 0 ? { p, site: NODE, random: atStart(SEED) } : undefined,
  };
  return { q, kv, options };
}

function checkFlash(
  one: OperationCase,
  oracle: GraphRun,
  results: ReadonlyMap<string, ArrayLike<number>>,
  precision: Precision,
): void {
  const { q, kv, options } = attentionOf(one);
  const round = roundTo[precision];
  const { y, dq, dkv } = attention16(q, kv, one.given.get('dy')!, round, options);
  expectFlash('value', results.get('value')!, oracle.values.get(NODE)!.data, y.data, round);
  const isPacked = one.given.has('qkv');
  const gradients: [string, Tensor, readonly string[]][] = isPacked
    ? [['qkv', beside(dq, dkv), ['dq', 'dk', 'dv']]]
    : [
        ['q', dq, ['dq']],
        ['kv', dkv, ['dk', 'dv']],
      ];
  for (const [name, plain, parts] of gradients) {
    const result = results.get(name);
    if (!result) continue;
    const width = plain.shape[2]! / parts.length;
    for (const [part, what] of parts.entries()) {
      const of = (all: ArrayLike<number>): number[] =>
        Array.from(all).filter((_, i) => Math.floor(i / width) % parts.length === part);
      expectFlash(what, of(result), of(oracle.gradients.get(name)!.data), of(plain.data), round);
    }
  }
}

/**
 * ln Σ eˢ of each query, −∞ if it sees no key. Must agree within 1e-5, absolutely or relatively, because fp32 holds scores of
 * some hundreds no better.
 */
function checkLse(one: OperationCase, lse: ArrayLike<number> | undefined, slack: number): void {
  if (!lse) throw new Error('attention handed out no lse');
  const { q, kv, options } = attentionOf(one);
  const { heads, kvHeads, headDim, scale } = options;
  const [queries, keys] = [q.shape[1]!, kv.shape[1]!];
  for (let i = 0; i < one.rows * heads * queries; i++) {
    const [b, h, t] = [Math.floor(i / queries / heads), Math.floor(i / queries) % heads, i % queries];
    const scores: number[] = [];
    for (let k = 0; k < keys; k++) {
      if (!options.sees(b, t, k)) continue;
      const qAt = ((b * queries + t) * heads + h) * headDim;
      const kAt = ((b * keys + k) * 2 * kvHeads + Math.floor((h * kvHeads) / heads)) * headDim;
      let sum = 0;
      for (let d = 0; d < headDim; d++) sum += q.data[qAt + d]! * kv.data[kAt + d]!;
      scores.push(scale * sum);
    }
    const largest = scores.reduce((a, s) => Math.max(a, s), -Infinity);
    const isEmpty = scores.length === 0;
    const expected = isEmpty
      ? -Infinity
      : largest + Math.log(scores.reduce((a, s) => a + Math.exp(s - largest), 0));
    const close = isEmpty
      ? lse[i] === expected
      : Math.abs(lse[i]! - expected) <= statistics * slack * Math.max(1, Math.abs(expected));
    if (!close) throw new Error(`lse of row ${b}, head ${h}, query ${t} is ${lse[i]}, expected ${expected}`);
  }
}

/** Mean and 1/σ of each row, which otherwise only affect the backward pass. */
function checkStatistics(one: OperationCase, taps: RunResult['taps']): void {
  const [mean, rstd] = [outputOf(taps, 'mean'), outputOf(taps, 'rstd')];
  if (!mean || !rstd) throw new Error('layer_norm handed out no statistics');
  const x = one.given.get('x')!;
  const residual = one.given.get('residual');
  const columns = x.shape.at(-1)!;
  const epsilon = Number(one.graph.nodes[0]!.attributes?.['epsilon']);
  const rows = x.data.length / columns;
  const means = tensor([rows], new Float64Array(rows));
  const rstds = tensor([rows], new Float64Array(rows));
  for (let row = 0; row < rows; row++) {
    const of = Float64Array.from({ length: columns }, (_, i) => {
      const at = row * columns + i;
      return x.data[at]! + (residual ? residual.data[at]! : 0);
    });
    const m = of.reduce((a, value) => a + value, 0) / columns;
    means.data[row] = m;
    rstds.data[row] = 1 / Math.sqrt(of.reduce((a, value) => a + (value - m) ** 2, 0) / columns + epsilon);
  }
  expectClose('mean', mean, means.data, statistics);
  expectClose('rstd', rstd, rstds.data, statistics);
}
