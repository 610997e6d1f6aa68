import { TesseraeError } from '../errors';
import type { ParameterSpec } from '../graph/graph';
import type { Model } from '../models/model';
import type { StateKind } from '../native';
import type { SafetensorsFile, TensorSource } from './safetensors';

/** What an optimizer has beside counters. */
export interface OptimizerTensors {
  /** Its moments of each parameter, by the names that they have in files: PyTorch's. */
  readonly moments: Readonly<Record<string, StateKind>>;
  /** Whether there is a moving average of the weights. */
  readonly ema: boolean;
}

/** A tensor of a model's State, and where it stands in files. */
interface SavedTensor {
  /** Its name in the file. */
  readonly key: string;
  readonly kind: StateKind;
  readonly parameter: string;
  /** Shape in files. */
  readonly shape: readonly number[];
}

function savedTensors(
  model: Model,
  isSaved: (spec: ParameterSpec) => boolean,
  kinds: Readonly<Record<string, StateKind>>,
): SavedTensor[] {
  const shapes = new Map(model.native.info.parameters.map(({ name, shape }) => [name, shape]));
  return model.graph.parameters.filter(isSaved).flatMap(({ name, transposedInFiles }) => {
    const shape = shapes.get(name) ?? [];
    return Object.entries(kinds).map(([suffix, kind]) => ({
      key: name + suffix,
      kind,
      parameter: name,
      shape: transposedInFiles ? [...shape].reverse() : shape,
    }));
  });
}

const weights = (model: Model, kind: StateKind = 'parameter'): SavedTensor[] =>
  savedTensors(model, ({ saved }) => saved !== false, { '': kind });

const moments = (model: Model, kinds: OptimizerTensors['moments']): SavedTensor[] =>
  savedTensors(
    model,
    ({ trainable }) => trainable !== false,
    Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [`.${name}`, kind])),
  );

const sources = (model: Model, tensors: readonly SavedTensor[]): TensorSource[] =>
  tensors.map(({ key, kind, parameter, shape }) => ({
    name: key,
    shape,
    read: () => model.native.readTensor(kind, parameter, 'file'),
  }));

/** The weights as model.safetensors has them. */
export const weightSources = (model: Model): TensorSource[] => sources(model, weights(model));

/** The moving average of the weights, under their names: model_ema.safetensors can stand for model.safetensors. */
export const emaSources = (model: Model): TensorSource[] => sources(model, weights(model, 'ema'));

/** The optimizer's moments as optimizer.safetensors has them, such as `<parameter>.exp_avg`. */
export const momentSources = (model: Model, kinds: OptimizerTensors['moments']): TensorSource[] =>
  sources(model, moments(model, kinds));

/**
 * Sets a model's weights from a file, once all of them were found there.
 *
 * @param name - of the file, for messages.
 * @param kind - what is set: the weights, or their moving average.
 * @throws TesseraeError `ERR_CHECKPOINT` for a weight that is missing, too much, or of another shape or dtype.
 */
export async function loadWeights(
  model: Model,
  file: SafetensorsFile,
  name: string,
  kind: 'parameter' | 'ema' = 'parameter',
): Promise<void> {
  const wanted = weights(model, kind);
  await load(model, wanted, file, storedNames(file, new Set(wanted.map(({ key }) => key)), name), name);
}

/** As loadWeights, for the moments of an optimizer that was set up. */
export async function loadMoments(
  model: Model,
  file: SafetensorsFile,
  name: string,
  kinds: OptimizerTensors['moments'],
): Promise<void> {
  const wanted = moments(model, kinds);
  const keys = new Set(wanted.map(({ key }) => key));
  const extra = [...file.tensors.keys()].find((key) => !keys.has(key));
  if (extra !== undefined) throw mismatch(name, `it has '${extra}', which the optimizer has not`);
  await load(model, wanted, file, new Map([...keys].map((key) => [key, key])), name);
}

async function load(
  model: Model,
  wanted: readonly SavedTensor[],
  file: SafetensorsFile,
  stored: ReadonlyMap<string, string>,
  name: string,
): Promise<void> {
  const found = wanted.map((tensor) => {
    const key = stored.get(tensor.key);
    const entry = key === undefined ? undefined : file.tensors.get(key);
    if (key === undefined || !entry) throw mismatch(name, `it lacks '${tensor.key}'`);
    if (entry.shape.join() !== tensor.shape.join())
      throw mismatch(name, `'${key}' is [${entry.shape.join(', ')}], not [${tensor.shape.join(', ')}]`);
    return { ...tensor, key };
  });
  for (const { key, kind, parameter } of found)
    await model.native.writeTensor(kind, parameter, await file.readFloat32(key), 'file');
}

/** Our names → those in the file: Hugging Face's base models have no `transformer.` in front. */
function storedNames(file: SafetensorsFile, wanted: ReadonlySet<string>, name: string): Map<string, string> {
  const stored = new Map<string, string>();
  for (const key of file.tensors.keys()) {
    const ours = wanted.has(key) ? key : `transformer.${key}`;
    if (wanted.has(ours)) stored.set(ours, key);
    // Causal masks of older files, and a head that is the token embedding again.
    else if (!/\.attn\.(masked_)?bias$|^lm_head\.weight$/.test(key))
      throw mismatch(name, `it has '${key}', which the model has not`);
  }
  return stored;
}

function mismatch(file: string, what: string): TesseraeError {
  return new TesseraeError('ERR_CHECKPOINT', `'${file}' does not fit its config.json: ${what}`, {
    details: { file },
  });
}
