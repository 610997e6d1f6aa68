import type { Graph } from '../../../lib/graph/graph';
import {
  NativeModel,
  type Batch,
  type NativeModelOptions,
  type Precision,
  type RunResult,
} from '../../../lib/native';
import { atStart } from '../../oracles/philox';
import { runGraph, type GraphRun } from '../../oracles/graph';
import { tensor, type Tensor } from '../../oracles/tensor';
import { NODE, type OperationCase } from './cases';
import { expectClose, fp32Tolerance } from './compare';

export const SEED = 1234567890123;

/** What a test may change about how a case runs. */
export interface CaseOptions {
  readonly labelSmoothing?: number;
  readonly rewrite?: boolean;
  /** Every buffer in an allocation of its own. */
  readonly separate?: boolean;
  readonly threads?: number;
  readonly padding?: NativeModelOptions['padding'];
  /** Factor of the tolerance of a plain sum of products. Default 1. */
  readonly slack?: number;
  /** Runs the operation as evaluation does; there are no gradients then. */
  readonly eval?: boolean;
  /** Default 'cpu' and 'fp32'. */
  readonly device?: string;
  readonly precision?: Precision;
}

/** Creates a fp32 model on the CPU, on one thread, and passes it on; disposes it in the end. */
export async function withModel<T>(
  graph: Graph,
  options: Partial<NativeModelOptions>,
  use: (model: NativeModel) => Promise<T>,
): Promise<T> {
  const defaults = { device: 'cpu', precision: 'fp32', seed: SEED, threads: 1 } as const;
  const model = await NativeModel.create(graph, { ...defaults, ...options });
  try {
    return await use(model);
  } finally {
    model.dispose();
  }
}

/** The inputs of a Graph among `given`, as the arrays that native code takes. */
export function batchOf(
  graph: Graph,
  given: ReadonlyMap<string, Tensor>,
  wanted: (name: string) => boolean = () => true,
): Batch {
  const arrays = graph.inputs
    .filter(({ name, optional }) => wanted(name) && !(optional && !given.has(name)))
    .map(({ name, kind }) => {
      const { data } = given.get(name)!;
      return [name, kind !== 'values' ? Int32Array.from(data) : Float32Array.from(data)] as const;
    });
  return Object.fromEntries(arrays);
}

export async function writeParameters(model: NativeModel, given: ReadonlyMap<string, Tensor>): Promise<void> {
  for (const { name } of model.info.parameters) {
    await model.writeTensor('parameter', name, Float32Array.from(given.get(name)!.data));
  }
}

export async function readParameters(model: NativeModel, graph: Graph): Promise<Map<string, Tensor>> {
  const read = new Map<string, Tensor>();
  for (const { name } of graph.parameters) {
    const { shape } = model.info.parameters.find((parameter) => parameter.name === name)!;
    read.set(name, tensor(shape, await model.readTensor('parameter', name)));
  }
  return read;
}

/** The native results of a case: its value, gradients by name, and with `tap` what each call wrote. */
export async function runNative(
  one: OperationCase,
  options: CaseOptions & { readonly tap?: boolean } = {},
): Promise<{
  value: ArrayLike<number>;
  gradients: ReadonlyMap<string, ArrayLike<number>>;
  taps: RunResult['taps'];
}> {
  const { threads, padding, rewrite, labelSmoothing, separate, tap } = options;
  const model = {
    ...(threads === undefined ? {} : { threads }),
    ...(padding === undefined ? {} : { padding }),
    ...(options.device === undefined ? {} : { device: options.device }),
    ...(options.precision === undefined ? {} : { precision: options.precision }),
  };
  return withModel(one.graph, model, async (native) => {
    await writeParameters(native, one.given);
    const isInput = (name: string): boolean => one.graph.inputs.some((input) => input.name === name);
    const output = 'loss' in one.graph.outputs ? 'loss' : 'y';
    const differentiable = options.eval ? [] : one.differentiable;
    const forward = {
      rows: one.rows,
      lengths: one.lengths,
      documents: one.given.has('starts'),
      outputs: [output],
      ...(rewrite === undefined ? {} : { rewrite }),
    };
    const { outputs, taps } = await native.run(
      options.eval
        ? { mode: 'eval', ...forward }
        : {
            mode: 'train',
            ...forward,
            ...(output === 'loss' ? {} : { outputGradients: { y: 'dy' } }),
            gradientsOf: differentiable.filter(isInput),
            ...(labelSmoothing === undefined ? {} : { labelSmoothing }),
          },
      batchOf(one.graph, one.given),
      {
        poison: true,
        ...(separate === undefined ? {} : { separate }),
        ...(tap === undefined ? {} : { tap }),
      },
    );
    const gradients = new Map<string, ArrayLike<number>>();
    for (const name of differentiable) {
      const gradient = isInput(name)
        ? outputs[`d(${name})`]!.data
        : await native.readTensor('gradient', name);
      gradients.set(name, gradient);
    }
    return { value: outputs[output]!.data, gradients, taps };
  });
}

/** What a case's oracles compute. */
export function runOracle(
  one: OperationCase,
  options: Pick<CaseOptions, 'eval' | 'labelSmoothing'> = {},
): GraphRun {
  // The gradient of a loss starts from one over the positions of the batch.
  const seed = one.given.get('dy') ?? tensor([1], [1 / (one.rows * one.time)]);
  return runGraph(one.graph, one.given, new Map([[NODE, seed]]), {
    train: !options.eval,
    random: atStart(SEED),
    labelSmoothing: options.labelSmoothing ?? 0,
  });
}

/** Runs a case natively and by its oracle; the value and every gradient must agree to fp32 rounding. */
export async function checkCase(one: OperationCase, options: CaseOptions = {}): Promise<void> {
  const oracle = runOracle(one, options);
  const native = await runNative(one, options);
  const tolerance = fp32Tolerance(one.terms) * (options.slack ?? 1);
  expectClose('value', native.value, oracle.values.get(NODE)!.data, tolerance);
  for (const name of native.gradients.keys()) {
    expectClose(`d(${name})`, native.gradients.get(name)!, oracle.gradients.get(name)!.data, tolerance);
  }
}
