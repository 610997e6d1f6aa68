/** The options of `tesserae sample` that control generation: each is the GenerateOptions field of the same name. */
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

/** Defaults of the command line. */
const DEFAULTS = { maxNewTokens: 200, temperature: 0.8, seed: 0 } as const;

const option = <T>(flags: string, description: string, read: (text: string, before: T) => T): Option =>
  new Option(flags, description).argParser(read);

/** Commander would read the `no` in its name as a negation. */
function noRepeatNgramSize(): Option {
  const made = option(
    '--no-repeat-ngram-size <n>',
    'length of token sequences that never repeat',
    integer(1),
  );
  made.negate = false;
  return made;
}

export const samplingOptions = (): Option[] => [
  option(
    '--max-new-tokens <n>',
    `number of tokens to generate (default: ${DEFAULTS.maxNewTokens})`,
    integer(1),
  ),
  option('--min-new-tokens <n>', 'the text does not end before this many tokens', integer(0)),
  option(
    '--temperature <number>',
    `0 takes the most likely token; higher values are more varied (default: ${DEFAULTS.temperature})`,
    positive,
  ),
  option('--top-k <n>', 'draw only from the n most likely tokens', integer(1)),
  option(
    '--top-p <number>',
    'draw only from the fewest tokens whose probabilities sum to at least this',
    positive,
  ),
  option(
    '--min-p <number>',
    'draw only from tokens at least this fraction as likely as the most likely one',
    positive,
  ),
  option(
    '--repetition-penalty <number>',
    'above 1: tokens already in the sequence become less likely',
    positive,
  ),
  option(
    '--frequency-penalty <number>',
    'subtracted from a logit for each time the token was generated; 0: none',
    number,
  ),
  option(
    '--presence-penalty <number>',
    'subtracted from the logit of each generated token once; 0: none',
    number,
  ),
  noRepeatNgramSize(),
  option('--suppress-tokens <id...>', 'tokens that are never generated', integers(0)),
  option(
    '--eos-token-id <id...>',
    "tokens that end the text (default: the model's, or the token that ends a document in the tokenizer)",
    integers(0),
  ),
  option('--stop-tokens <id...>', 'more tokens that end the text, with another finishReason', integers(0)),
  new Option('--stop <text...>', 'texts that end the generation'),
  option('--num-return-sequences <n>', 'number of independent texts per prompt', integer(1)),
  option('--num-beams <n>', 'search for the most likely text with n beams instead of drawing', integer(1)),
  option('--length-penalty <number>', 'for beam search: above 0 favours long texts', number),
  new Option('--early-stopping', 'for beam search: end as soon as n beams have ended'),
  option(
    '--logprobs <n>',
    'with --json: log-probabilities of the tokens, and of the n most likely ones at each position',
    integer(0),
  ),
  option('--seed <n>', `the same seed gives the same text (default: ${DEFAULTS.seed})`, integer(0)),
];

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
  const found = samplingOptions().find((one) => [one.name(), one.attributeName()].includes(name));
  if (!found) throw new InvalidArgumentError(`There is no option '${name}': /help lists them.`);
  const { parseArg, variadic } = found;
  if (found.isBoolean()) return { [found.attributeName()]: true };
  if (value === '') throw new InvalidArgumentError(`It needs a value: ${found.flags}.`);
  const words = variadic && parseArg ? value.split(/\s+/) : [value];
  const read = (before: unknown, word: string): unknown => (parseArg ? parseArg(word, before) : [word]);
  return { [found.attributeName()]: words.reduce<unknown>(read, undefined) };
}
