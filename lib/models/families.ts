import { z } from 'zod';
import { TesseraeError } from '../errors';
import type { Graph } from '../graph/graph';
import { gpt2 } from './gpt2';
import {
  gpt2Schema,
  gpt2Synonyms,
  resolveGPT2Config,
  type GPT2Config,
  type GPT2Options,
} from './gpt2_config';
import { nearestName } from './validation';

/** A model as one writes it: `type` names the family, the rest are its settings, all with defaults. */
export type ModelConfig = {
  /** The family. */
  readonly type: 'gpt2';
} & GPT2Options;

/** A model with every setting filled in. */
export type ResolvedModelConfig = {
  /** The family. */
  readonly type: 'gpt2';
} & GPT2Config;

const FAMILIES = ['gpt2'] as const satisfies readonly ModelConfig['type'][];

/** Validates a ModelConfig inside a larger configuration. */
export const modelSchema = z.discriminatedUnion('type', [
  gpt2Schema.extend({ type: z.literal('gpt2').describe('The model family') }),
]);

/** Other libraries' names of the settings of any family. */
export const modelSynonyms = gpt2Synonyms;

/**
 * Checks a model's settings and fills in the defaults.
 *
 * @param at - where the settings stand in a larger configuration, for messages.
 * @throws TesseraeError `ERR_CONFIG` with `details.path`.
 */
export function resolveModelConfig(config: ModelConfig, at = ''): ResolvedModelConfig {
  // What a caller without types passes may be anything.
  const given: unknown = config;
  const type = typeof given === 'object' && given !== null && 'type' in given ? given.type : undefined;
  const { type: _type, ...options } = config ?? {};
  switch (type) {
    case 'gpt2':
      return { type, ...resolveGPT2Config(options, at) };
    default: {
      const path = at === '' ? 'type' : `${at}.type`;
      const meant = typeof type === 'string' ? nearestName(type, FAMILIES) : undefined;
      const hint = meant === undefined ? `one of ${FAMILIES.join(', ')}` : `did you mean '${meant}'?`;
      const shown = type === undefined ? 'is missing' : `${JSON.stringify(type)} is not a model family`;
      throw new TesseraeError('ERR_CONFIG', `${path} ${shown}: ${hint}`, { details: { path } });
    }
  }
}

/**
 * The Graph of a model.
 *
 * @throws TesseraeError `ERR_CONFIG` as resolveModelConfig does.
 */
export function buildGraph(config: ModelConfig): Graph {
  const { type, ...options } = resolveModelConfig(config);
  switch (type) {
    case 'gpt2':
      return gpt2(options);
  }
}
