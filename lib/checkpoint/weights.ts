import { TesseraeError } from '../errors';
import type { Graph, ParameterSpec } from '../graph/graph';
import type { Model } from '../models/model';
import type { StateKind } from '../native';
import { FLOATS } from './floats';
import type { TensorSource } from './safetensors';
import type { WeightFiles } from './weight_files';

/** The tensors of an optimizer. */
export interface OptimizerTensors {
  /** Its moments per parameter, by their names in files, which are PyTorch's. */
  readonly moments: Readonly<Record<string, StateKind>>;
  /** Whether it has a moving average of the weights. */
  readonly ema: boolean;
}

/** A tensor of a model's State, and its place in files. */
interface SavedTensor {
  /** Its name in the file. */
  readonly key: string;
  readonly kind: StateKind;
  readonly parameter: string;
  /** Shape in files. */
  readonly shape: readonly number[];
}

function savedTensors(
  graph: Graph,
  isSaved: (spec: ParameterSpec) => boolean,
  kinds: Readonly<Record<string, StateKind>>,
): SavedTensor[] {
  const sizes = new Map(
    graph.axes.map(({ name, factors }) => [name, factors.reduce((product, { size }) => product * size, 1)]),
  );
  return graph.parameters.filter(isSaved).flatMap(({ name, axes, transposedInFiles }) => {
    const shape = axes.map((axis) => sizes.get(axis) ?? 0);
    return Object.entries(kinds).map(([suffix, kind]) => ({
      key: name + suffix,
      kind,
      parameter: name,
      shape: transposedInFiles ? [...shape].reverse() : shape,
    }));
  });
}

const weights = (graph: Graph, kind: StateKind = 'parameter'): SavedTensor[] =>
  savedTensors(graph, ({ saved }) => saved !== false, { '': kind });

const moments = (model: Model, kinds: OptimizerTensors['moments']): SavedTensor[] =>
  savedTensors(
    model.graph,
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
export const weightSources = (model: Model): TensorSource[] => sources(model, weights(model.graph));

/** The moving average of the weights, under their names, so that model_ema.safetensors can replace model.safetensors. */
export const emaSources = (model: Model): TensorSource[] => sources(model, weights(model.graph, 'ema'));

/** The optimizer's moments as optimizer.safetensors has them, such as `<parameter>.exp_avg`. */
export const momentSources = (model: Model, kinds: OptimizerTensors['moments']): TensorSource[] =>
  sources(model, moments(model, kinds));

/** A wanted tensor and its name in the file. */
type FoundTensor = SavedTensor & { readonly stored: string };

/**
 * Finds a model's weights in a file, before anything is allocated.
 *
 * @param name - of the file, for messages.
 * @throws TesseraeError `ERR_CHECKPOINT` for a weight that is missing, unknown, or has another shape or dtype.
 */
export function findWeights(graph: Graph, file: WeightFiles, name: string): FoundTensor[] {
  const wanted = weights(graph);
  return find(wanted, file, storedNames(file, new Set(wanted.map(({ key }) => key)), name), name);
}

/**
 * Sets a model's weights from a file, once all of them were found there.
 *
 * @param name - of the file, for messages.
 * @param kind - what is set: the weights, or their moving average.
 * @throws TesseraeError `ERR_CHECKPOINT` as findWeights does, and if the file has a tied head that differs from the token
 * embedding.
 */
export async function loadWeights(
  model: Model,
  file: WeightFiles,
  name: string,
  kind: 'parameter' | 'ema' = 'parameter',
): Promise<void> {
  const found = findWeights(model.graph, file, name).map((tensor) => ({ ...tensor, kind }));
  await checkTiedHead(found, file, name);
  await write(model, found, file);
}

/** As loadWeights, for the moments of an optimizer that was set up. */
export async function loadMoments(
  model: Model,
  file: WeightFiles,
  name: string,
  kinds: OptimizerTensors['moments'],
): Promise<void> {
  const wanted = moments(model, kinds);
  const keys = new Set(wanted.map(({ key }) => key));
  const extra = [...file.tensors.keys()].find((key) => !keys.has(key));
  if (extra !== undefined) throw mismatch(name, `it has '${extra}', which the optimizer does not have`);
  await write(model, find(wanted, file, new Map([...keys].map((key) => [key, key])), name), file);
}

function find(
  wanted: readonly SavedTensor[],
  file: WeightFiles,
  names: ReadonlyMap<string, string>,
  name: string,
): FoundTensor[] {
  return wanted.map((tensor) => {
    const stored = names.get(tensor.key);
    const entry = stored === undefined ? undefined : file.tensors.get(stored);
    if (stored === undefined || !entry) throw mismatch(name, `it lacks '${tensor.key}'`);
    if (entry.shape.join() !== tensor.shape.join())
      throw mismatch(name, `'${stored}' is [${entry.shape.join(', ')}], not [${tensor.shape.join(', ')}]`);
    if (!FLOATS.has(entry.dtype))
      throw mismatch(name, `'${stored}' is ${entry.dtype}, not one of ${[...FLOATS.keys()].join(', ')}`);
    return { ...tensor, stored };
  });
}

async function write(model: Model, found: readonly FoundTensor[], file: WeightFiles): Promise<void> {
  for (const { stored, kind, parameter } of found)
    await model.native.writeTensor(kind, parameter, await file.readFloat32(stored), 'file');
}

const HEAD = 'lm_head.weight';
const EMBEDDING = 'transformer.wte.weight';

/** The heads of transformers' other GPT-2 classes; their language model is the same. */
const OTHER_HEADS = /^(score|classifier|qa_outputs|multiple_choice_head\.summary)\.(weight|bias)$/;

/** Our names → those in the file: Hugging Face's base models have no `transformer.` in front. */
function storedNames(file: WeightFiles, wanted: ReadonlySet<string>, name: string): Map<string, string> {
  const stored = new Map<string, string>();
  for (const key of file.tensors.keys()) {
    const ours = wanted.has(key) ? key : `transformer.${key}`;
    const other = stored.get(ours);
    if (other !== undefined)
      throw mismatch(name, `it has '${key}' and '${other}', which are names of one weight`);
    if (wanted.has(ours)) stored.set(ours, key);
    // Older files have causal masks, and some also store the tied head.
    else if (!/(^|\.)h\.\d+\.attn\.(masked_)?bias$/.test(key) && key !== HEAD && !OTHER_HEADS.test(key))
      throw mismatch(name, `it has '${key}', which the model does not have`);
  }
  return stored;
}

/** If config.json ties the head to the token embedding, a stored head must equal it: one of the two would be lost. */
async function checkTiedHead(found: readonly FoundTensor[], file: WeightFiles, name: string): Promise<void> {
  if (!file.tensors.has(HEAD) || found.some(({ key }) => key === HEAD)) return;
  const head = await file.readFloat32(HEAD);
  const embedding = await file.readFloat32(found.find(({ key }) => key === EMBEDDING)?.stored ?? EMBEDDING);
  if (Buffer.compare(Buffer.from(head.buffer), Buffer.from(embedding.buffer)) !== 0)
    throw mismatch(
      name,
      `'${HEAD}' differs from the token embedding, but tie_word_embeddings is true: set it to false`,
    );
}

/** `what` is cut: names and shapes of a file may be of any length. */
function mismatch(file: string, what: string): TesseraeError {
  const why = what.length > 500 ? `${what.slice(0, 500)}…` : what;
  return new TesseraeError('ERR_CHECKPOINT', `'${file}' does not fit its config.json: ${why}`, {
    details: { file },
  });
}
