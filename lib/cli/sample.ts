import type { Command } from 'commander';
import { loadModel } from '../checkpoint/checkpoint';
import { TesseraeError } from '../errors';
import { requireTokens } from '../models/families';
import type { Model } from '../models/model';
import { generateOptionsSchema } from '../sampling/options';
import { Sampler, type Generation } from '../sampling/sampler';
import { converse, type Answer } from './interactive';
import { Interrupt } from './interrupt';
import {
  deviceOption,
  jsonOption,
  modelOptions,
  precisionOption,
  threadsOption,
  weightsOption,
  type ComputeOptions,
  type Done,
} from './options';
import { SettingsCommand } from './setting_options';
import { samplingOptions, withDefaults, type SamplingOptions } from './sampling_options';
import { printJson, printText } from './terminal';

interface SampleOptions extends SamplingOptions, ComputeOptions {
  readonly prompt?: string;
  readonly interactive?: true;
  readonly allowAnyStart?: true;
  readonly weights: 'trained' | 'ema';
  readonly json?: true;
}

export const sampleCommand = (done: Done): Command =>
  new SettingsCommand('sample')
    .summary('continue a text with a trained model')
    .description(
      'Continues a text with a trained model and prints it as it is generated. If the checkpoint has no tokenizer, prompts ' +
        'and results are token ids separated by spaces.',
    )
    .argument('<folder>', 'outputDir of a run (its newest checkpoint is used), or a checkpoint')
    .option(
      '--prompt <text>',
      'text to continue (default: the start of the training texts, or the start token)',
    )
    .option('--interactive', 'continue each line from the terminal or a pipe')
    .option('--allow-any-start', 'accept prompts whose first token never started a training sequence')
    .addSettings(generateOptionsSchema, samplingOptions())
    .addOption(weightsOption())
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addOption(precisionOption())
    .addOption(jsonOption('one JSON line per text'))
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae sample runs/config --prompt "Call me" --max-new-tokens 400
  $ tesserae sample runs/config --prompt "Call me" --top-p 0.9 --stop "."
  $ tesserae sample runs/config --interactive
  $ tesserae sample runs/config --interactive --json < prompts.txt > texts.jsonl`,
    )
    .action(async (folder: string, options: SampleOptions, command: Command) => {
      if (options.logprobs !== undefined && !options.json)
        command.error("error: option '--logprobs <n>' needs --json, which shows them");
      if (options.prompt !== undefined && options.interactive)
        command.error(
          "error: option '--prompt <text>' cannot be used with --interactive, which reads prompts",
        );
      done(await sample(folder, options));
    });

/** `tesserae sample`: continues a text with a trained model. Returns the exit code. */
async function sample(folder: string, options: SampleOptions): Promise<number> {
  const { prompt, interactive, allowAnyStart, weights, device, threads, precision, json, ...given } = options;
  const where = modelOptions({ device, threads, precision });
  const { model, tokenizer, trainingStarts } = await loadModel(folder, { ...where, weights });
  using _model = model;
  requireNoTypes(model);
  const sampler = new Sampler(model, tokenizer, {
    trainingStarts,
    allowAnyStart,
  });
  if (interactive) return await converse(sampler, given, json ? writeJson : writeText);
  using interrupt = new Interrupt(() => undefined);
  await (json ? writeJson : writeText)(sampler, prompt ?? '', { ...given, signal: interrupt.signal });
  return interrupt.exitCode;
}

/** Streams one text; writes several with a separator line between them. */
const writeText: Answer = async (sampler, prompt, { signal, ...options }) => {
  const given = { ...withDefaults(options), signal };
  const write = printText;
  if ((given.numBeams ?? 1) > 1 || (given.numReturnSequences ?? 1) > 1) {
    const texts = await sampler.generate([prompt], given);
    write(texts.map(({ text }) => `${prompt}${text}\n`).join('---------------\n'));
    return;
  }
  const stream = sampler.stream(prompt, given);
  // An error in the prompt appears before the prompt is printed.
  let next = await stream.next();
  write(prompt);
  for (; !next.done; next = await stream.next()) write(next.value.text);
  write('\n');
};

const writeJson: Answer = async (sampler, prompt, { signal, ...options }) => {
  const texts = await sampler.generate([prompt], { ...withDefaults(options), signal });
  for (const one of texts) printJson(record(prompt, one));
};

const record = (
  prompt: string,
  { text, tokens, finishReason, logprobs, topLogprobs }: Generation,
): object => ({
  type: 'sample',
  prompt,
  text,
  tokens: Array.from(tokens),
  finishReason,
  ...(logprobs ? { logprobs: Array.from(logprobs) } : {}),
  ...(topLogprobs ? { topLogprobs } : {}),
});

function requireNoTypes({ config }: Model): void {
  const tokens = requireTokens(config, 'sampling');
  const [setting] = (['nTypes', 'nStypes'] as const).filter((name) => tokens[name] > 0);
  if (setting === undefined) return;
  throw new TesseraeError(
    'ERR_CONFIG',
    `the model has ${setting} ${tokens[setting]}, but its checkpoint does not have the types of tokens: sample it from ` +
      'TypeScript, with sampler.generate(prompt, { types: { byToken: […] } })',
    { details: { path: setting } },
  );
}
