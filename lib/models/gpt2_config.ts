import { z } from 'zod';
import { TesseraeError } from '../errors';
import { dropoutProbability, fp32 } from './device_numbers';
import type { GPT2Config, GPT2Options } from './gpt2_config.generated';
import { integer, settings } from './settings';
import { parseConfig } from './validation';

export type * from './gpt2_config.generated';

/** The supported activations. */
export const ACTIVATIONS = ['gelu', 'gelu_new', 'relu', 'silu', 'tanh'] as const;

/** Tokens that may end a text. */
const MOST_END_TOKENS = 100;

const size = (limit: number, what: string) => integer(1, limit).describe(what);
const types = (what: string) =>
  integer(0, 2 ** 24)
    .default(0)
    .describe(what);
const probability = (of: string) =>
  dropoutProbability().default(0.1).describe(`Probability of dropout on ${of}.`);
const tokenId = z.int().min(0);
const innerWidth = size(2 ** 18, 'Width inside the MLP. Default 4 · nEmbd.');

/** <|endoftext|>, the last of GPT-2's 50,257 tokens, whose vocabulary is often rounded up to a multiple of 64. */
const GPT2_END = 50_256;
const GPT2_ROUNDED = 50_304;

/** Names of these settings in other libraries. */
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

const fields = {
  vocabSize: size(2 ** 24, 'Token ids are in [0, vocabSize).').default(50257),
  nPositions: size(2 ** 20, 'The longest sequence, in tokens. Default 1024.').optional(),
  nEmbd: size(2 ** 16, 'Width of the residual stream.').default(768),
  nLayer: size(1000, 'Number of blocks.').default(12),
  nHead: size(1024, 'Attention heads per block.').default(12),
  headDim: size(
    1024,
    "Width of one head; required if nHead doesn't divide nEmbd. Default nEmbd ÷ nHead.",
  ).optional(),
  scaleAttnWeights: z.boolean().default(true).describe('Whether to divide attention scores by √headDim.'),
  scaleAttnByInverseLayerIdx: z
    .boolean()
    .default(false)
    .describe('Whether to also divide the attention scores of block l, counted from 0, by l + 1.'),
  nInner: innerWidth.nullable().optional().describe('Width inside the MLP; null: 4 · nEmbd. Default null.'),
  activationFunction: z
    .enum(ACTIVATIONS)
    .default('gelu_new')
    .describe('Activation inside the MLP; `gelu` is exact, `gelu_new` the tanh approximation.'),
  residPdrop: probability('the outputs of attention and MLP'),
  embdPdrop: probability('the sum of embeddings'),
  attnPdrop: probability('attention probabilities'),
  layerNormEpsilon: fp32(z.number().gt(0).max(1))
    .default(1e-5)
    .describe('Added to the variance in each layer norm.'),
  initializerRange: fp32(z.number().min(0).max(10))
    .default(0.02)
    .describe('Standard deviation of initial weights.'),
  tieWordEmbeddings: z
    .boolean()
    .default(true)
    .describe('Whether the output head shares the weights of the token embedding.'),
  bosTokenId: tokenId
    .nullable()
    .optional()
    .describe(
      "Token that starts a text, or null. Default 50256 for a vocabulary of GPT-2's size (50257 to 50304), else null.",
    ),
  eosTokenId: z
    .union([tokenId, z.array(tokenId).min(1).max(MOST_END_TOKENS)])
    .nullable()
    .optional()
    .describe(
      "Token or tokens that end a text, or null. Default 50256 for a vocabulary of GPT-2's size, else null.",
    ),
  isEncoder: z
    .boolean()
    .default(false)
    .describe(
      'Whether attention is bidirectional and every position has a given target instead of the next token.',
    ),
  isCausal: z
    .boolean()
    .optional()
    .describe('Whether a position sees only itself and earlier ones. Default !isEncoder.'),
  nTypes: types("Number of token types whose embeddings are added to the tokens' (input `types`); 0: none."),
  nStypes: types('Number of token subtypes (input `subtypes`); 0: none.'),
  positions: z
    .enum(['learned', 'sinusoidal', 'none'])
    .default('learned')
    .describe('Position embeddings; `sinusoidal` ones are fixed (Vaswani et al. 2017, section 3.5).'),
  normalization: z
    .enum(['pre', 'post'])
    .default('pre')
    .describe(
      'Layer norm before each branch, and once at the end (`pre`, GPT-2), or after each residual sum (`post`).',
    ),
  ignoreIndex: integer(-(2 ** 31), 2 ** 31 - 1)
    .default(-100)
    .describe('The target value without a loss; outside [0, vocabSize).'),
};

/** Validates GPT2Options and fills in the defaults that depend on nothing else. */
export const gpt2Schema = z
  .strictObject({
    ...fields,
    nCtx: size(2 ** 20, 'Another name of nPositions, from older files.').optional(),
  })
  .describe("The settings of the `gpt2` family. Names and defaults are Hugging Face's in camelCase.")
  .register(settings, { name: 'GPT2Options', synonyms: gpt2Synonyms });

/** The result of resolveGPT2Config. */
export const gpt2ConfigSchema = z
  .strictObject({ ...fields, nInner: innerWidth })
  .required()
  .describe(
    "The settings of the `gpt2` family with every default filled in. Names and defaults are Hugging Face's in camelCase.",
  )
  .register(settings, { name: 'GPT2Config' });

/**
 * Checks the settings and fills in every default.
 *
 * @param at - path of the settings in a larger configuration, for messages.
 * @throws TesseraeError `ERR_CONFIG` with `details.path`. For a width that the heads don't divide, `details.remedies` has the
 * nearest `nEmbd` and `nHead` that work, and the `headDim` that keeps both.
 */
export function resolveGPT2Config(options: GPT2Options = {}, at = ''): GPT2Config {
  const given = parseConfig(gpt2Schema, options, {
    at,
    whole: 'the configuration',
  });
  const refuse = (
    field: keyof GPT2Options,
    message: string,
    details: Record<string, unknown> = {},
  ): never => {
    const path = at === '' ? field : `${at}.${field}`;
    throw new TesseraeError('ERR_CONFIG', `${path} ${message}`, { details: { path, ...details } });
  };
  const { nCtx, ...settled } = given;
  const { vocabSize, nEmbd, nHead, isEncoder, ignoreIndex } = settled;
  if (nCtx !== undefined && given.nPositions !== undefined && nCtx !== given.nPositions)
    refuse('nCtx', `${nCtx} and nPositions ${given.nPositions} are two names of one setting: give only one`);
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
  const token = <Field extends 'bosTokenId' | 'eosTokenId'>(field: Field): GPT2Config[Field] => {
    const ids = given[field];
    if (ids === undefined) return vocabSize > GPT2_END && vocabSize <= GPT2_ROUNDED ? GPT2_END : null;
    const beyond = [ids].flat().find((id) => id !== null && id >= vocabSize);
    if (beyond !== undefined)
      refuse(field, `${beyond} is not in the vocabulary: it must be below vocabSize ${vocabSize}, or null`);
    return ids as GPT2Config[Field];
  };
  return {
    ...settled,
    nPositions: given.nPositions ?? nCtx ?? 1024,
    headDim: given.headDim ?? nEmbd / nHead,
    nInner: given.nInner ?? 4 * nEmbd,
    bosTokenId: token('bosTokenId'),
    eosTokenId: token('eosTokenId'),
    isCausal,
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
