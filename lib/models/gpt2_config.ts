import { z } from 'zod';
import { TesseraeError } from '../errors';
import { dropoutProbability, fp32 } from './device_numbers';
import { parseConfig, show } from './validation';

const ACTIVATIONS = [
  'gelu',
  'gelu_new',
  'relu',
  'silu',
  'tanh',
] as const satisfies GPT2Config['activationFunction'][];
const POSITIONS = ['learned', 'sinusoidal', 'none'] as const satisfies GPT2Config['positions'][];
const NORMALIZATIONS = ['pre', 'post'] as const satisfies GPT2Config['normalization'][];

/** The `gpt2` family's settings with every default filled in. Names and defaults are Hugging Face's in camelCase. */
export interface GPT2Config {
  /** Token ids lie in [0, vocabSize). Default 50257. */
  readonly vocabSize: number;
  /** The longest sequence, in tokens. Default 1024. */
  readonly nPositions: number;
  /** Width of the residual stream. Default 768. */
  readonly nEmbd: number;
  /** Number of blocks. Default 12. */
  readonly nLayer: number;
  /** Attention heads of a block. Default 12. */
  readonly nHead: number;
  /** Width of one head. Default nEmbd ÷ nHead; must be given when that doesn't divide. */
  readonly headDim: number;
  /** Width inside the MLP. Default 4 · nEmbd. */
  readonly nInner: number;
  /** Activation inside the MLP; `gelu` is exact, `gelu_new` the tanh approximation. Default 'gelu_new'. */
  readonly activationFunction: 'gelu' | 'gelu_new' | 'relu' | 'silu' | 'tanh';
  /** Probability of dropout on what attention and MLP add to the residual stream, in [0, 1). Default 0.1. */
  readonly residPdrop: number;
  /** Probability of dropout on the sum of embeddings, in [0, 1). Default 0.1. */
  readonly embdPdrop: number;
  /** Probability of dropout on attention probabilities, in [0, 1). Default 0.1. */
  readonly attnPdrop: number;
  /** Added to the variance in each layer norm. Default 1e-5. */
  readonly layerNormEpsilon: number;
  /** Standard deviation of initial weights. Default 0.02. */
  readonly initializerRange: number;
  /** Whether the output head is the token embedding itself. Default true. */
  readonly tieWordEmbeddings: boolean;
  /** Token that starts a text, or null. Default 50256 where the vocabulary has it, else null. */
  readonly bosTokenId: number | null;
  /** Token that ends a text, or null. Default 50256 where the vocabulary has it, else null. */
  readonly eosTokenId: number | null;
  /** Bidirectional attention and a loss on every position, whose targets are given, not shifted. Default false. */
  readonly isEncoder: boolean;
  /** Whether a position sees only itself and earlier ones. Default !isEncoder. */
  readonly isCausal: boolean;
  /** Number of token types whose embeddings are added to the tokens' (input `types`); 0: none. Default 0. */
  readonly nTypes: number;
  /** Number of token subtypes (input `subtypes`); 0: none. Default 0. */
  readonly nStypes: number;
  /** Position embeddings; `sinusoidal` ones are fixed (Vaswani et al. 2017, section 3.5). Default 'learned'. */
  readonly positions: 'learned' | 'sinusoidal' | 'none';
  /**
   * Layer norm before each branch, and once at the end (`pre`, GPT-2), or after each residual sum (`post`). Default 'pre'.
   */
  readonly normalization: 'pre' | 'post';
  /** The target that no loss is computed for; outside [0, vocabSize). Default -100. */
  readonly ignoreIndex: number;
}

/** What one may write: any part of GPT2Config; nInner null means its default, and nCtx is another name of nPositions. */
export type GPT2Options = Partial<Omit<GPT2Config, 'nInner'>> & {
  /** Width inside the MLP; null: 4 · nEmbd. Default null. */
  readonly nInner?: number | null;
  /** Another name of nPositions, from older files. */
  readonly nCtx?: number;
};

const size = (limit: number, what: string) => z.int().min(1).max(limit).describe(what);
const probability = (what: string) => dropoutProbability().default(0.1).describe(what);
const tokenId = (what: string) => z.int().min(0).nullable().optional().describe(what);

/** Validates GPT2Options and fills in the defaults that depend on nothing else. */
export const gpt2Schema = z.strictObject({
  vocabSize: size(2 ** 24, 'Token ids lie in [0, vocabSize)').default(50257),
  nPositions: size(2 ** 20, 'The longest sequence, in tokens (default 1024)').optional(),
  nCtx: size(2 ** 20, 'Another name of nPositions').optional(),
  nEmbd: size(2 ** 16, 'Width of the residual stream').default(768),
  nLayer: size(1000, 'Number of blocks').default(12),
  nHead: size(1024, 'Attention heads of a block').default(12),
  headDim: size(1024, 'Width of one head (default nEmbd / nHead)').optional(),
  nInner: size(2 ** 18, 'Width inside the MLP (default 4 nEmbd)')
    .nullable()
    .optional(),
  activationFunction: z.enum(ACTIVATIONS).default('gelu_new').describe('Activation inside the MLP'),
  residPdrop: probability('Dropout on what attention and MLP add to the residual stream'),
  embdPdrop: probability('Dropout on the sum of embeddings'),
  attnPdrop: probability('Dropout on attention probabilities'),
  layerNormEpsilon: fp32(z.number().gt(0).max(1))
    .default(1e-5)
    .describe('Added to the variance in each layer norm'),
  initializerRange: fp32(z.number().min(0).max(10))
    .default(0.02)
    .describe('Standard deviation of initial weights'),
  tieWordEmbeddings: z.boolean().default(true).describe('The output head is the token embedding'),
  bosTokenId: tokenId('Token that starts a text (default 50256 where the vocabulary has it)'),
  eosTokenId: tokenId('Token that ends a text (default 50256 where the vocabulary has it)'),
  isEncoder: z.boolean().default(false).describe('Bidirectional attention, a loss on every position'),
  isCausal: z.boolean().optional().describe('Positions see only earlier ones (default: not isEncoder)'),
  nTypes: z
    .int()
    .min(0)
    .max(2 ** 24)
    .default(0)
    .describe('Token types whose embeddings are added; 0: none'),
  nStypes: z
    .int()
    .min(0)
    .max(2 ** 24)
    .default(0)
    .describe('Token subtypes whose embeddings are added; 0: none'),
  positions: z.enum(POSITIONS).default('learned').describe('Position embeddings'),
  normalization: z.enum(NORMALIZATIONS).default('pre').describe('Layer norm before or after each branch'),
  ignoreIndex: z
    .int()
    .min(-(2 ** 31))
    .max(2 ** 31 - 1)
    .default(-100)
    .describe('Target without a loss'),
});

/** What other libraries call these settings. */
export const gpt2Synonyms = {
  hiddenSize: 'nEmbd',
  dModel: 'nEmbd',
  embeddingSize: 'nEmbd',
  numLayers: 'nLayer',
  numHiddenLayers: 'nLayer',
  numHeads: 'nHead',
  numAttentionHeads: 'nHead',
  headSize: 'headDim',
  intermediateSize: 'nInner',
  blockSize: 'nPositions',
  contextLength: 'nPositions',
  maxPositionEmbeddings: 'nPositions',
  dropout: 'residPdrop',
  hiddenAct: 'activationFunction',
} as const;

/**
 * Checks the settings and fills in every default.
 *
 * @param at - where the settings stand in a larger configuration, for messages.
 * @throws TesseraeError `ERR_CONFIG` with `details.path`; for a width that the heads don't divide also
 * `details.remedies`: the nearest `nEmbd` and `nHead` that work, and the `headDim` to run it as it is.
 */
export function resolveGPT2Config(options: GPT2Options = {}, at = ''): GPT2Config {
  const given = parseConfig(gpt2Schema, options, {
    at,
    whole: 'the configuration',
    synonyms: gpt2Synonyms,
  });
  const refuse = (
    field: keyof GPT2Options,
    message: string,
    details: Record<string, unknown> = {},
  ): never => {
    const path = at === '' ? field : `${at}.${field}`;
    throw new TesseraeError('ERR_CONFIG', `${path} ${message}`, { details: { path, ...details } });
  };
  const { nCtx, vocabSize, nEmbd, nHead, isEncoder, ignoreIndex } = given;
  if (nCtx !== undefined && given.nPositions !== undefined && nCtx !== given.nPositions)
    refuse('nCtx', `${nCtx} and nPositions ${given.nPositions} are names of one setting: give one of them`);
  if (given.headDim === undefined && nEmbd % nHead !== 0) {
    const remedies = divisionRemedies(nEmbd, nHead);
    refuse(
      'nEmbd',
      `${nEmbd} is not a multiple of nHead ${nHead}: use nEmbd ${remedies.nEmbd.join(' or ')}, or nHead ` +
        `${remedies.nHead.join(' or ')}, or keep both and set headDim ${remedies.headDim}`,
      { remedies },
    );
  }
  const isCausal = given.isCausal ?? !isEncoder;
  if (!isCausal && !isEncoder)
    refuse(
      'isCausal',
      'false would let a next-token loss see its answer: set isEncoder true (targets are then given, not shifted) ' +
        'or leave isCausal true',
    );
  if (ignoreIndex >= 0 && ignoreIndex < vocabSize)
    refuse('ignoreIndex', `${ignoreIndex} is a token of the vocabulary: use a negative number, such as -100`);
  const token = (field: 'bosTokenId' | 'eosTokenId'): number | null => {
    const id = given[field];
    if (id === undefined) return vocabSize > 50256 ? 50256 : null;
    if (id !== null && id >= vocabSize)
      refuse(field, `${id} is not in the vocabulary: it must be below vocabSize ${vocabSize}, or null`);
    return id;
  };
  return {
    vocabSize,
    nPositions: given.nPositions ?? nCtx ?? 1024,
    nEmbd,
    nLayer: given.nLayer,
    nHead,
    headDim: given.headDim ?? nEmbd / nHead,
    nInner: given.nInner ?? 4 * nEmbd,
    activationFunction: given.activationFunction,
    residPdrop: given.residPdrop,
    embdPdrop: given.embdPdrop,
    attnPdrop: given.attnPdrop,
    layerNormEpsilon: given.layerNormEpsilon,
    initializerRange: given.initializerRange,
    tieWordEmbeddings: given.tieWordEmbeddings,
    bosTokenId: token('bosTokenId'),
    eosTokenId: token('eosTokenId'),
    isEncoder,
    isCausal,
    nTypes: given.nTypes,
    nStypes: given.nStypes,
    positions: given.positions,
    normalization: given.normalization,
    ignoreIndex,
  };
}

/** The nearest widths and head counts that divide, and the head width (a multiple of 8) that needs no division. */
function divisionRemedies(
  nEmbd: number,
  nHead: number,
): { nEmbd: number[]; nHead: number[]; headDim: number } {
  const below = Math.floor(nEmbd / nHead) * nHead;
  let fewer = nHead;
  while (nEmbd % fewer !== 0) fewer--;
  let more = nHead;
  while (more < nEmbd && nEmbd % more !== 0) more++;
  return {
    nEmbd: [below, below + nHead].filter((width) => width > 0),
    nHead: nEmbd % more === 0 ? [fewer, more] : [fewer],
    headDim: Math.ceil(nEmbd / nHead / 8) * 8,
  };
}

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

/** Hugging Face's names of the same setting (GPT2Config.attribute_map, and n_ctx of older files). */
const HUGGING_FACE_ALIASES: Readonly<Record<string, string>> = {
  hidden_size: 'n_embd',
  max_position_embeddings: 'n_positions',
  num_attention_heads: 'n_head',
  num_hidden_layers: 'n_layer',
  n_ctx: 'n_positions',
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

/** Variants of Hugging Face's GPT-2 that compute something else; a file that asks for one is refused. */
const REFUSED: Readonly<Record<string, unknown>> = {
  scale_attn_weights: false,
  scale_attn_by_inverse_layer_idx: true,
  reorder_and_upcast_attn: true,
  add_cross_attention: true,
  is_encoder_decoder: true,
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
  for (const [key, value] of Object.entries(REFUSED))
    if (rest.get(key) === value) refuse(key, `${String(value)} is a variant of GPT-2 that is not supported`);
  const pruned = rest.get('pruned_heads') ?? {};
  if (typeof pruned !== 'object' || Object.keys(pruned).length > 0)
    refuse('pruned_heads', 'is not supported: all heads of a block must be there');
  for (const [alias, name] of Object.entries(HUGGING_FACE_ALIASES)) {
    if (!rest.has(alias)) continue;
    const value = take(alias);
    if (rest.has(name) && rest.get(name) !== value)
      refuse(alias, `${show(value)} and ${name} ${show(rest.get(name))} are names of one setting`);
    rest.set(name, value);
  }

  let options: Record<string, unknown> = {};
  for (const [ours, theirs] of Object.entries(HUGGING_FACE))
    if (rest.has(theirs)) options[ours] = take(theirs);
  const activation = options['activationFunction'];
  if (typeof activation === 'string')
    options['activationFunction'] = HUGGING_FACE_ACTIVATIONS[activation] ?? activation;
  const vocabSize = options['vocabSize'];
  for (const key of ['bosTokenId', 'eosTokenId']) {
    const id = options[key];
    if (typeof id === 'number' && typeof vocabSize === 'number' && id >= vocabSize) options[key] = null;
  }
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

/** The setting because of which Hugging Face's GPT-2 can't compute a model, such as `positions none`; undefined if it can. */
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
 * it as something else. What Hugging Face has no name for stands under `tesserae.model`.
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
