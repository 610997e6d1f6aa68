import type { Precision } from '../../../lib/native';
import type { Tensor } from '../../oracles/tensor';
import { NODE, type OperationCase } from './cases';
import { fp32Tolerance } from './compare';
import { runOracle, SEED } from './native';

export interface CaseFileOptions {
  /** Default the CPU, in fp32. */
  readonly model?: { readonly device: string; readonly precision: Precision };
  /** Default as the unit tests run: poisoned memory, an allocation for each buffer. */
  readonly run?: { readonly poison: boolean; readonly separate: boolean };
  /** Relative error of a result: `value`, or the gradient with that name. Default: what fp32 arithmetic may cause. */
  readonly tolerance?: (name: string, exact: Tensor) => number;
  /** How often the case runs again for the timing. Default 3. */
  readonly repeat?: number;
}

/** A case as op_run reads it: inputs, and what the fp64 oracle expects of its value and gradients. */
export function caseFile(one: OperationCase, options: CaseFileOptions = {}): Record<string, unknown> {
  const isInput = (name: string): boolean => one.graph.inputs.some((input) => input.name === name);
  const oracle = runOracle(one);
  const output = 'loss' in one.graph.outputs ? 'loss' : 'y';
  const tolerance = options.tolerance ?? (() => fp32Tolerance(one.terms));
  const expected = (name: string, exact: Tensor) => ({
    values: Array.from(exact.data),
    tolerance: tolerance(name, exact),
  });
  const given = (wanted: (name: string) => boolean) =>
    Object.fromEntries(
      [...one.given].filter(([name]) => wanted(name)).map(([name, { data }]) => [name, Array.from(data)]),
    );
  return {
    name: one.name,
    graph: one.graph,
    model: { seed: SEED, ...options.model },
    request: {
      mode: 'train',
      rows: one.rows,
      lengths: one.lengths,
      documents: one.given.has('starts'),
      outputs: [output],
      ...(output === 'loss' ? {} : { outputGradients: { y: 'dy' } }),
      gradientsOf: one.differentiable.filter(isInput),
    },
    run: options.run ?? { poison: true, separate: true },
    repeat: options.repeat ?? 3,
    inputs: given(isInput),
    parameters: given((name) => !isInput(name)),
    expected: {
      [output]: expected('value', oracle.values.get(NODE)!),
      ...Object.fromEntries(
        one.differentiable.map((name) => [`d(${name})`, expected(name, oracle.gradients.get(name)!)]),
      ),
    },
  };
}
