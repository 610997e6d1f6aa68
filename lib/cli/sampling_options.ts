/** The options of `tesserae sample` that control generation: each is the GenerateOptions field of the same name. */
import { InvalidArgumentError, type Option } from 'commander';
import { valueText } from '../models/setting_text';
import { settings } from '../models/settings';
import { nearestName } from '../models/validation';
import { generateOptionsSchema, type GenerateOptions } from '../sampling/options';
import { integers } from './options';
import { samplingSchema } from './run_configuration';
import { settingOption } from './setting_options';

/** How lists are written on the command line. */
const tokens = { argument: '<id...>', read: integers(0) };
const texts = { argument: '<text...>' };

/** The options in the order of help. */
const OPTIONS = {
  maxNewTokens: {},
  minNewTokens: {},
  temperature: {},
  topK: {},
  topP: {},
  minP: {},
  repetitionPenalty: {},
  frequencyPenalty: {},
  presencePenalty: {},
  noRepeatNgramSize: {},
  suppressTokens: tokens,
  eosTokenId: tokens,
  stopTokens: tokens,
  stop: texts,
  numReturnSequences: {},
  numBeams: {},
  lengthPenalty: {},
  earlyStopping: {},
  logprobs: {},
  seed: {},
} as const satisfies Partial<Record<keyof GenerateOptions, object>>;

export type SamplingOptions = Pick<GenerateOptions, keyof typeof OPTIONS>;

/** The defaults: those of the sample at the end of a run. */
const { prompt: _, ...DEFAULTS } = samplingSchema.parse({});

export const samplingOptions = (): Option[] =>
  Object.entries(OPTIONS).map(([name, option]) => {
    const value = DEFAULTS[name as keyof typeof DEFAULTS] as number | undefined;
    const byDefault = value === undefined ? {} : { byDefault: valueText(value) };
    return settingOption(generateOptionsSchema, name, { ...option, ...byDefault });
  });

/** Beam search does not draw, so it has no temperature. */
export function withDefaults(options: SamplingOptions): SamplingOptions {
  const { temperature, ...rest } = DEFAULTS;
  return { ...rest, ...((options.numBeams ?? 1) > 1 ? {} : { temperature }), ...options };
}

/**
 * Reads a setting as it is typed, such as `temperature 0.5` or `stopTokens 1 2`.
 *
 * @throws InvalidArgumentError for an unknown option or a value that it does not accept.
 */
export function parseSetting(text: string): SamplingOptions {
  const [, name = '', value = ''] = /^(\S*)\s*(.*)$/.exec(text) ?? [];
  const options = samplingOptions();
  const found = options.find((one) => [one.name(), one.attributeName()].includes(name));
  if (!found) {
    const names = options.map((one) => one.attributeName());
    const meant = nearestName(name, names, settings.get(generateOptionsSchema)?.synonyms);
    const hint = meant === undefined ? '' : ` Did you mean ${meant}?`;
    throw new InvalidArgumentError(`There is no option '${name}': /help lists them.${hint}`);
  }
  const { parseArg, variadic } = found;
  if (found.isBoolean()) return { [found.attributeName()]: true };
  if (value === '') throw new InvalidArgumentError(`It needs a value: ${found.flags}.`);
  const words = variadic && parseArg ? value.split(/\s+/) : [value];
  const read = (before: unknown, word: string): unknown => (parseArg ? parseArg(word, before) : [word]);
  return { [found.attributeName()]: words.reduce<unknown>(read, undefined) };
}
