/** The options of `tesserae sample` that say how text is generated: each is one of GenerateOptions, under its name. */
import { InvalidArgumentError, Option } from 'commander';
import type { GenerateOptions } from '../sampling/options';
import { integer, integers, number, positive } from './options';

export type SamplingOptions = Pick<
  GenerateOptions,
  | 'maxNewTokens'
  | 'minNewTokens'
  | 'temperature'
  | 'topK'
  | 'topP'
  | 'minP'
  | 'repetitionPenalty'
  | 'frequencyPenalty'
  | 'presencePenalty'
  | 'noRepeatNgramSize'
  | 'suppressTokens'
  | 'eosTokenId'
  | 'stopTokens'
  | 'stop'
  | 'numReturnSequences'
  | 'numBeams'
  | 'lengthPenalty'
  | 'earlyStopping'
  | 'logprobs'
  | 'seed'
>;

/** What the command line takes where nothing is said. */
const DEFAULTS = { maxNewTokens: 200, temperature: 0.8, seed: 0 } as const;

const option = <T>(flags: string, description: string, read: (text: string, before: T) => T): Option =>
  new Option(flags, description).argParser(read);

/** Its name begins with no, but it denies nothing. */
function noRepeatNgramSize(): Option {
  const made = option('--no-repeat-ngram-size <n>', 'no run of so many tokens comes twice', integer(1));
  made.negate = false;
  return made;
}

export const samplingOptions = (): Option[] => [
  option('--max-new-tokens <n>', `tokens to write (default: ${DEFAULTS.maxNewTokens})`, integer(1)),
  option('--min-new-tokens <n>', 'tokens before which none ends the text', integer(0)),
  option(
    '--temperature <number>',
    `0 takes the most probable token, higher is more varied (default: ${DEFAULTS.temperature})`,
    positive,
  ),
  option('--top-k <n>', 'draw from so many of the most probable tokens alone', integer(1)),
  option('--top-p <number>', 'draw from the fewest tokens that together have this probability', positive),
  option('--min-p <number>', 'draw from tokens this times as probable as the most probable one', positive),
  option('--repetition-penalty <number>', 'above 1: tokens that were there come less often', positive),
  option('--frequency-penalty <number>', 'the same, by how often they were generated; 0: none', number),
  option('--presence-penalty <number>', 'the same, if they were generated at all; 0: none', number),
  noRepeatNgramSize(),
  option('--suppress-tokens <id...>', 'tokens that never come', integers(0)),
  option(
    '--eos-token-id <id...>',
    'tokens that end the text (default: those of the model, else the one with which the tokenizer ends a document)',
    integers(0),
  ),
  option('--stop-tokens <id...>', 'the same, told apart in finishReason', integers(0)),
  new Option('--stop <text...>', 'texts at which to end'),
  option('--num-return-sequences <n>', 'texts of each prompt, each drawn apart', integer(1)),
  option(
    '--num-beams <n>',
    'search for the most probable text with so many beams, instead of drawing',
    integer(1),
  ),
  option('--length-penalty <number>', 'of beams: above 0 favours long ones', number),
  new Option('--early-stopping', 'end when as many beams as there are have ended'),
  option(
    '--logprobs <n>',
    'with --json: log-probabilities, and those of n more tokens in their place',
    integer(0),
  ),
  option('--seed <n>', `the same seed gives the same text (default: ${DEFAULTS.seed})`, integer(0)),
];

/** Beam search draws nothing, and takes no temperature. */
export function withDefaults(options: SamplingOptions): SamplingOptions {
  const { temperature, ...rest } = DEFAULTS;
  return { ...rest, ...((options.numBeams ?? 1) > 1 ? {} : { temperature }), ...options };
}

/**
 * Reads a setting as it is typed, such as `temperature 0.5` or `stopTokens 1 2`.
 *
 * @throws InvalidArgumentError for an option that there is not, or a value that it does not take.
 */
export function parseSetting(text: string): SamplingOptions {
  const [, name = '', value = ''] = /^(\S*)\s*(.*)$/.exec(text) ?? [];
  const found = samplingOptions().find((one) => [one.name(), one.attributeName()].includes(name));
  if (!found) throw new InvalidArgumentError(`There is no option '${name}': /help lists them.`);
  const { parseArg, variadic } = found;
  if (found.isBoolean()) return { [found.attributeName()]: true };
  if (value === '') throw new InvalidArgumentError(`It needs a value: ${found.flags}.`);
  const words = variadic && parseArg ? value.split(/\s+/) : [value];
  const read = (before: unknown, word: string): unknown => (parseArg ? parseArg(word, before) : [word]);
  return { [found.attributeName()]: words.reduce<unknown>(read, undefined) };
}
