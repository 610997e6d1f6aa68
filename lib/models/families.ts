import { z } from 'zod';
import { TesseraeError } from '../errors';
import type { Graph } from '../graph/graph';
import { reading } from './array_likes';
import type { ConfigForm, Family, TokenSettings } from './family';
import { gpt2Family } from './gpt2';
import type { GPT2Config, GPT2Options } from './gpt2_config';
import { settings } from './settings';
import { nearestName, show } from './validation';

/** The configuration of a model: `type` names the family, the rest are its settings, all with defaults. */
export type ModelConfig = {
  /** The family. */
  readonly type: 'gpt2';
} & GPT2Options;

/** The configuration of a model with every setting filled in. */
export type ResolvedModelConfig = {
  /** The family. */
  readonly type: 'gpt2';
} & GPT2Config;

type Of<Config, Type> = Omit<Extract<Config, { readonly type: Type }>, 'type'>;

const FAMILIES: {
  readonly [Type in ModelConfig['type']]: Family<Of<ModelConfig, Type>, Of<ResolvedModelConfig, Type>>;
} = {
  gpt2: gpt2Family,
};

/** The families by the `type` of their configurations. */
const families = new Map<string, Family<object, object>>(Object.entries(FAMILIES));

/** For tests: adds a family that is not part of the library, which configuration files can't name. */
export function addFamily<Options extends object, Config extends object>(
  type: string,
  added: Family<Options, Config>,
): void {
  families.set(type, added);
}

function family(type: string): Family<object, object> {
  const found = families.get(type);
  if (!found) throw new TesseraeError('ERR_INTERNAL', `there is no model family '${type}'`);
  return found;
}

const members = [...families].map(([type, { schema }]) =>
  schema
    .extend({ type: z.literal(type).describe('The model family') })
    .register(settings, { synonyms: settings.get(schema)?.synonyms ?? {} }),
);
const anyMember: z.ZodType = z.discriminatedUnion('type', members as [(typeof members)[number]]);

/** Validates a ModelConfig inside a larger configuration. */
export const modelSchema = anyMember as z.ZodType<ModelConfig, ModelConfig>;

/**
 * Checks a model's settings and fills in the defaults.
 *
 * @param at - path of the settings in a larger configuration, for messages.
 * @throws TesseraeError `ERR_CONFIG` with `details.path`.
 */
export function resolveModelConfig(config: ModelConfig, at = ''): ResolvedModelConfig {
  const name = at === '' ? 'the model' : at;
  return reading({ name, path: at, code: 'ERR_CONFIG' }, () => resolveConfig(config, at));
}

function resolveConfig(config: ModelConfig, at: string): ResolvedModelConfig {
  // What a caller without types passes may be anything.
  const given: unknown = config;
  const type = typeof given === 'object' && given !== null && 'type' in given ? given.type : undefined;
  const { type: _type, ...options } = config ?? {};
  if (typeof type === 'string' && families.has(type))
    return { type, ...family(type).resolve(options, at) } as ResolvedModelConfig;
  const path = at === '' ? 'type' : `${at}.type`;
  const known = [...families.keys()];
  const meant = typeof type === 'string' ? nearestName(type, known) : undefined;
  const hint = meant === undefined ? `one of ${known.join(', ')}` : `did you mean '${meant}'?`;
  const shown =
    type === undefined
      ? 'is missing'
      : `${typeof type === 'string' ? JSON.stringify(type) : show(type)} is not a model family`;
  throw new TesseraeError('ERR_CONFIG', `${path} ${shown}: ${hint}`, { details: { path } });
}

/**
 * Builds the Graph of a model.
 *
 * @throws TesseraeError `ERR_CONFIG` as resolveModelConfig does.
 */
export function buildGraph(config: ModelConfig): Graph {
  const { type, ...settings } = resolveModelConfig(config);
  return family(type).graph(settings);
}

/** The most positions of a row along each length axis of the model's Graph. */
export function lengthLimits({ type, ...settings }: ResolvedModelConfig): Readonly<Record<string, number>> {
  return family(type).lengthLimits(settings);
}

/** The token settings of a model; undefined for a family that reads no token ids. */
export function tokenSettings({ type, ...settings }: ResolvedModelConfig): TokenSettings | undefined {
  return family(type).tokens?.(settings);
}

/**
 * The token settings of a model.
 *
 * @param what - what needs them, for the message.
 * @throws TesseraeError `ERR_CONFIG` for a family that reads none.
 */
export function requireTokens(config: ResolvedModelConfig, what: string): TokenSettings {
  const found = tokenSettings(config);
  if (found) return found;
  throw new TesseraeError(
    'ERR_CONFIG',
    `${what} needs a model that reads token ids, which '${config.type}' does not`,
    { details: { path: 'model.type' } },
  );
}

const formOf = (type: string): ConfigForm<object> => {
  const own = family(type);
  const modelType = `tesserae_${type}`;
  return (
    own.configForm ?? {
      modelTypes: [modelType],
      write: (settings) => ({ model_type: modelType, tesserae: { model: settings } }),
      read: (json) => own.resolve((json as ConfigFile).tesserae?.model as object, 'tesserae.model'),
      whatIsOwn: () => `type ${type}`,
    }
  );
};

/** A config.json as far as it is known before its family is. */
interface ConfigFile {
  readonly model_type?: unknown;
  readonly tesserae?: { readonly model?: unknown };
}

/** The config.json of a model; settings that Hugging Face lacks are under `tesserae.model`. */
export function modelToFile(config: ResolvedModelConfig): ReturnType<ConfigForm<object>['write']> {
  const { type, ...settings } = config;
  return formOf(type).write(settings);
}

/** The setting that Hugging Face can't compute, such as `positions none`; undefined if it can compute the model. */
export function whatIsOwn({ type, ...settings }: ResolvedModelConfig): string | undefined {
  return formOf(type).whatIsOwn(settings);
}

/**
 * The model that a config.json describes: one that modelToFile wrote, or Hugging Face's.
 *
 * @throws TesseraeError `ERR_CONFIG` for a `model_type` of no family, or for settings that can't be used.
 */
export function modelFromFile(json: unknown): ResolvedModelConfig {
  const modelType = (json as ConfigFile | null)?.model_type;
  const reads = (type: string): boolean => formOf(type).modelTypes.some((one) => one === modelType);
  // GPT-2 refuses what it doesn't know, and older files of it have no model_type.
  const type = [...families.keys()].find(reads) ?? 'gpt2';
  return { type, ...formOf(type).read(json) } as ResolvedModelConfig;
}
