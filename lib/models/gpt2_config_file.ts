import { TesseraeError } from '../errors';
import { ACTIVATIONS, resolveGPT2Config, type GPT2Config } from './gpt2_config';
import { show } from './validation';

/** Our names → Hugging Face's, for the settings that its GPT2Config has too. */
const HUGGING_FACE = {
  vocabSize: 'vocab_size',
  nPositions: 'n_positions',
  nEmbd: 'n_embd',
  nLayer: 'n_layer',
  nHead: 'n_head',
  nInner: 'n_inner',
  activationFunction: 'activation_function',
  residPdrop: 'resid_pdrop',
  embdPdrop: 'embd_pdrop',
  attnPdrop: 'attn_pdrop',
  layerNormEpsilon: 'layer_norm_epsilon',
  initializerRange: 'initializer_range',
  tieWordEmbeddings: 'tie_word_embeddings',
  scaleAttnWeights: 'scale_attn_weights',
  scaleAttnByInverseLayerIdx: 'scale_attn_by_inverse_layer_idx',
  bosTokenId: 'bos_token_id',
  eosTokenId: 'eos_token_id',
} as const satisfies Partial<Record<keyof GPT2Config, string>>;

/** The settings that Hugging Face has no name for; a config.json has them under `tesserae.model`. */
const OWN = [
  'headDim',
  'isEncoder',
  'isCausal',
  'nTypes',
  'nStypes',
  'positions',
  'normalization',
  'ignoreIndex',
] as const satisfies readonly (keyof GPT2Config)[];

/** Hugging Face's names of the same setting (GPT2Config.attribute_map). */
const HUGGING_FACE_ALIASES: Readonly<Record<string, string>> = {
  hidden_size: 'n_embd',
  max_position_embeddings: 'n_positions',
  num_attention_heads: 'n_head',
  num_hidden_layers: 'n_layer',
};

/** Hugging Face's names of activations that compute the same function as one of ours. */
const HUGGING_FACE_ACTIVATIONS: Readonly<Record<string, GPT2Config['activationFunction']>> = {
  swish: 'silu',
  gelu_python: 'gelu',
  gelu_pytorch_tanh: 'gelu_new',
  gelu_accurate: 'gelu_new',
  gelu_python_tanh: 'gelu_new',
  gelu_fast: 'gelu_new',
};

/**
 * Settings that would make GPT-2 another function, and why; a file with one is refused. `reorder_and_upcast_attn` is not among
 * them: it computes the same in another order.
 */
const REFUSED: Readonly<Record<string, string>> = {
  add_cross_attention: 'cross-attention to an encoder is not supported',
  is_encoder_decoder: 'encoder-decoder models are not supported',
};

/** `model_type` of a model that Hugging Face's GPT-2 can't compute, so that nothing loads it as one. */
const OWN_MODEL_TYPE = 'tesserae_gpt2';
export const GPT2_MODEL_TYPES: readonly string[] = ['gpt2', OWN_MODEL_TYPE];

/**
 * Reads a Hugging Face config.json of a GPT-2.
 *
 * @param json - the parsed file; keys that the model doesn't need are kept in `rest`, not refused. Token ids that are
 * not in the vocabulary, as small models made from GPT-2's defaults have, become null.
 * @throws TesseraeError `ERR_CONFIG` for another `model_type` and for variants that would compute something else.
 */
export function fromHuggingFace(json: unknown): { config: GPT2Config; rest: Record<string, unknown> } {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new TesseraeError('ERR_CONFIG', 'the configuration must hold an object', { details: { path: '' } });
  const rest = new Map<string, unknown>(Object.entries(json));
  const take = (key: string): unknown => {
    const value = rest.get(key);
    rest.delete(key);
    return value;
  };
  const refuse = (path: string, message: string): never => {
    throw new TesseraeError('ERR_CONFIG', `${path} ${message}`, { details: { path } });
  };

  const modelType = rest.get('model_type') ?? 'gpt2';
  if (typeof modelType !== 'string' || !GPT2_MODEL_TYPES.includes(modelType))
    refuse('model_type', `must be 'gpt2', not ${show(modelType)}`);
  for (const [key, why] of Object.entries(REFUSED))
    if (rest.get(key) === true) refuse(key, `is true: ${why}`);
  if ((rest.get('quantization_config') ?? null) !== null)
    refuse(
      'quantization_config',
      'is set: quantised weights are not supported; save the model without quantisation',
    );
  const pruned = rest.get('pruned_heads') ?? {};
  if (typeof pruned !== 'object' || Object.keys(pruned).length > 0)
    refuse('pruned_heads', 'is not supported: a block must have all its heads');
  for (const [alias, name] of Object.entries(HUGGING_FACE_ALIASES)) {
    if (!rest.has(alias)) continue;
    const value = take(alias);
    if (rest.has(name) && rest.get(name) !== value)
      refuse(alias, `${show(value)} and ${name} ${show(rest.get(name))} are two names of one setting`);
    rest.set(name, value);
  }

  let options: Record<string, unknown> = {};
  for (const [ours, theirs] of Object.entries(HUGGING_FACE))
    if (rest.has(theirs)) options[ours] = take(theirs);
  const activation = options['activationFunction'];
  if (activation !== undefined) options['activationFunction'] = activationOf(activation, refuse);
  const vocabSize = options['vocabSize'] ?? 50257;
  for (const key of ['bosTokenId', 'eosTokenId'])
    if (key in options) options[key] = tokensOf(options[key], vocabSize, key === 'eosTokenId');
  const block = rest.get('tesserae');
  const own = typeof block === 'object' && block !== null && 'model' in block ? block.model : undefined;
  if (own !== undefined) {
    if (typeof own !== 'object' || own === null) refuse('tesserae.model', 'must be an object');
    // A spread makes `__proto__` a key like others, which is then refused as unknown.
    options = { ...options, ...own };
  }
  rest.delete('tesserae');
  return { config: resolveGPT2Config(options, ''), rest: Object.fromEntries(rest) };
}

function activationOf(
  name: unknown,
  refuse: (path: string, message: string) => never,
): GPT2Config['activationFunction'] {
  const known = new Map<unknown, GPT2Config['activationFunction']>([
    ...ACTIVATIONS.map((one) => [one, one] as const),
    ...Object.entries(HUGGING_FACE_ACTIVATIONS),
  ]);
  const names = [...known.keys()].map(show).join(', ');
  return known.get(name) ?? refuse('activation_function', `must be one of ${names}, not ${show(name)}`);
}

/**
 * Ids as the model can use them. transformers accepts any id and only compares tokens with it, so one outside the vocabulary
 * never matches.
 */
function tokensOf(given: unknown, vocabSize: unknown, several: boolean): number | number[] | null {
  const most = typeof vocabSize === 'number' ? vocabSize : Infinity;
  const ids = [given]
    .flat()
    .filter((id): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < most);
  const [first = null] = ids;
  return several && ids.length > 1 ? [...new Set(ids)] : first;
}

/** The setting that Hugging Face's GPT-2 can't compute, such as `positions none`; undefined if it can compute the model. */
export function whatIsOwn(config: GPT2Config): string | undefined {
  const portable: Partial<GPT2Config> = {
    ...{
      isCausal: true,
      isEncoder: false,
      nTypes: 0,
      nStypes: 0,
      positions: 'learned',
      normalization: 'pre',
    },
    headDim: config.nEmbd / config.nHead,
  };
  const own = OWN.find((key) => portable[key] !== undefined && portable[key] !== config[key]);
  return own && `${own} ${String(config[own])}`;
}

/**
 * The Hugging Face config.json of a model. Where Hugging Face's GPT-2 computes the same function, `model_type` is 'gpt2';
 * a model that uses more (types, post norm, other positions, an encoder) gets a type of its own, so that nothing loads
 * it as something else. Settings that Hugging Face has no name for are under `tesserae.model`.
 */
export function toHuggingFace(config: GPT2Config): Record<string, unknown> & { tesserae: { model: object } } {
  const portable = whatIsOwn(config) === undefined;
  return {
    ...(portable ? { architectures: ['GPT2LMHeadModel'] } : {}),
    model_type: portable ? 'gpt2' : OWN_MODEL_TYPE,
    ...Object.fromEntries(
      Object.entries(HUGGING_FACE).map(([ours, theirs]) => [theirs, config[ours as 'nEmbd']]),
    ),
    tesserae: { model: Object.fromEntries(OWN.map((key) => [key, config[key]])) },
  };
}
