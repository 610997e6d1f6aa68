import type { Precision } from '../../../lib/native';
import type { Tensor } from '../../oracles/tensor';
import type { OperationCase } from '../../unit/support/cases';
import { isHalf, roundTo } from '../../unit/support/rounding';

/** x and residual in steps of 1/32 (bf16) or 1/256, below 4: their sum is a number of the type, and rounds to itself. */
const grid = (precision: 'bf16' | 'fp16') => {
  const steps = precision === 'bf16' ? 32 : 256;
  return (value: number): number => Math.max(-3.5, Math.min(3.5, Math.round(value * steps) / steps));
};

/** The case on inputs, and parameters of matrix products, that the precision's type holds exactly. */
export function rounded(one: OperationCase, precision: Precision): OperationCase {
  const [node] = one.graph.nodes;
  const isProduct = node!.op === 'linear';
  if (precision === 'tf32' && !isProduct) return one;
  const isInput = (name: string): boolean => one.graph.inputs.some((input) => input.name === name);
  const round =
    isHalf(precision) && node!.inputs['residual'] !== undefined ? grid(precision) : roundTo[precision];
  const floats = new Set([...one.differentiable, 'dy'].filter((name) => isInput(name) || isProduct));
  const given = [...one.given].map(([name, value]): [string, Tensor] => [
    name,
    floats.has(name)
      ? { shape: value.shape, data: value.data.map(name === 'dy' ? roundTo[precision] : round) }
      : value,
  ]);
  return { ...one, given: new Map(given) };
}
