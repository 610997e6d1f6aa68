import type { SequenceStarts } from '../data/dataset';
import type { JsonObject } from '../data/token_roles';
import { startsSchema } from '../data/sequences/starts';
import { TesseraeError } from '../errors';
import { parseJson } from '../files/json';
import { whyNotJson } from '../files/recognise_file';
import { modelFromFile, modelToFile, type ResolvedModelConfig } from '../models/families';
import { show } from '../models/validation';
import { files } from './files';
import type { StoredDtype } from './floats';

/** The contents of a checkpoint's config.json. */
export interface CheckpointConfig {
  readonly model: ResolvedModelConfig;
  /** Name of the tokenizer, if it was saved with one. */
  readonly tokenizer?: string;
  /** Number of optimizer steps that the model was trained for, if a trainer saved it. */
  readonly step?: number;
  /** How its training sequences begin, if their dataset says so. */
  readonly trainingStarts?: SequenceStarts;
  /** Keys of transformers that no model here reads and that don't affect its function, such as `pad_token_id`. */
  readonly others?: JsonObject | undefined;
}

/** Keys that describe what a file no longer is once it is written again: its classes, heads, writer and storage. */
const REPLACED: ReadonlySet<string> = new Set([
  ...[
    '_name_or_path',
    'architectures',
    'auto_map',
    'dtype',
    'model_type',
    'tesserae',
    'torch_dtype',
    'torchscript',
  ],
  ...['transformers_version', 'id2label', 'label2id', 'num_labels', 'problem_type', 'n_ctx', 'pruned_heads'],
  ...['hidden_size', 'max_position_embeddings', 'num_attention_heads', 'num_hidden_layers'],
]);

/** The keys of a file that are neither ours nor replaced. */
function othersOf(json: JsonObject, model: ResolvedModelConfig): JsonObject | undefined {
  const written = modelToFile(model);
  const others = Object.entries(json).filter(([key]) => !Object.hasOwn(written, key) && !REPLACED.has(key));
  return others.length === 0 ? undefined : Object.fromEntries(others);
}

/** PyTorch's names of dtypes. */
const TORCH_DTYPES: Readonly<Record<StoredDtype, string>> = {
  f32: 'float32',
  f16: 'float16',
  bf16: 'bfloat16',
};

/**
 * The text of config.json: Hugging Face's keys, and a block of ours for what it has no name for.
 *
 * @param dtype - what the weights are stored as.
 */
export function configText(
  { model, tokenizer, step, trainingStarts, others }: CheckpointConfig,
  dtype: StoredDtype = 'f32',
): string {
  const { tesserae, ...config } = modelToFile(model);
  const block = {
    version: 1,
    ...tesserae,
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...(step === undefined ? {} : { step }),
    ...(trainingStarts === undefined ? {} : { trainingStarts }),
  };
  return `${JSON.stringify({ ...others, ...config, torch_dtype: TORCH_DTYPES[dtype], tesserae: block }, null, 2)}\n`;
}

/** @throws TesseraeError `ERR_CHECKPOINT` for a file that can't be read, `ERR_CONFIG` for settings that can't be used. */
export async function readConfig(file: string): Promise<CheckpointConfig> {
  const refuse = (why: string, cause?: unknown): TesseraeError =>
    new TesseraeError('ERR_CHECKPOINT', `'${file}' ${why}`, { details: { file }, cause });
  let json: unknown;
  try {
    json = parseJson(await files.readText(file), { rounds: true });
  } catch (cause) {
    throw refuse(`can't be read: ${await whyNotJson(file, cause)}`, cause);
  }
  const model = modelOf(json, file);
  const { version, tokenizer, step, trainingStarts } = ((json as { tesserae?: unknown }).tesserae ??
    {}) as Record<string, unknown>;
  if (version !== undefined && version !== 1)
    throw refuse(
      `has version ${show(version)} of the tesserae block; this release reads version 1: update tesserae`,
    );
  if (tokenizer !== undefined && typeof tokenizer !== 'string')
    throw refuse('has a tokenizer name that is not text');
  if (step !== undefined && !Number.isSafeInteger(step)) throw refuse('has a step that is not an integer');
  const starts = startsSchema.optional().safeParse(trainingStarts);
  if (!starts.success) throw refuse('has invalid trainingStarts: remove them');
  return {
    model,
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...(step === undefined ? {} : { step: step as number }),
    ...(starts.data === undefined ? {} : { trainingStarts: starts.data }),
    others: othersOf(json as JsonObject, model),
  };
}

function modelOf(json: unknown, file: string): ResolvedModelConfig {
  try {
    return modelFromFile(json);
  } catch (error) {
    if (!(error instanceof TesseraeError)) throw error;
    const { code, message, details } = error;
    throw new TesseraeError(code, `'${file}': ${message}`, { details: { ...details, file }, cause: error });
  }
}
