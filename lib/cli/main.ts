#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { TesseraeError } from '../errors';
import type { Precision } from '../native';
import { TOKEN_DTYPES, TOKEN_FORMATS, type TokenDtype, type TokenFormat } from '../data/tokens/format';
import { average } from './average';
import { completion, SHELLS, type Shell } from './completion';
import { doctor } from './doctor';
import { plan } from './plan';
import { prepare } from './prepare';
import { sample, type SampleCommand } from './sample';
import { schedule } from './schedule';
import { train } from './train';

const FAILED = 1;
const WRONG_USAGE = 2;

interface TrainOptions {
  maxSteps?: number;
  batchSize?: number;
  learningRate?: number;
  seed?: number;
  outputDir?: string;
  reportTo?: string[];
  device: string;
  threads?: number;
  precision?: Precision;
  profile?: true;
  json?: true;
}

interface PrepareOptions {
  output: string;
  tokenizer: string;
  format: TokenFormat;
  dtype?: TokenDtype;
  validationFraction: number;
  textKey: string;
  workers?: number;
  json?: true;
}

interface PlanOptions {
  chip?: string;
  precision?: Precision;
  batchSize?: number;
  memory?: number;
  all?: true;
  json?: true;
}

const integer =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It must be an integer of at least ${least}.`);
    return value;
  };

const positive = (text: string): number => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('It must be a number of at least 0.');
  return value;
};

const fraction = (text: string): number => {
  const value = positive(text);
  if (value > 0.9) throw new InvalidArgumentError('It must be a number of at most 0.9.');
  return value;
};

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** Bytes of a text such as `24GiB`. */
export function parseBytes(text: string): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = UNITS[(unit ?? '?').toLowerCase()];
  const bytes = Math.round(Number(digits) * (factor ?? NaN));
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw new InvalidArgumentError('It must be a size such as 24GiB, 512MiB or 16GB.');
  return bytes;
}

const device = (): Option =>
  new Option('--device <device>', 'where to compute: auto, cpu, cuda or cuda:<number>').default('auto');
const threads = (): Option =>
  new Option('--threads <n>', 'threads on the CPU (default: all processors)').argParser(integer(1));

const precision = (): Option =>
  new Option('--precision <mode>', 'arithmetic (default: bf16 on a GPU, fp32 on the CPU)').choices([
    'fp32',
    'tf32',
    'fp16',
    'bf16',
  ]);

/** The program; `done` gets the exit code of the command that ran. */
function program(done: (code: number) => void): Command {
  const { version } = JSON.parse(readFileSync(path.resolve(__dirname, '../../package.json'), 'utf8')) as {
    version: string;
  };
  const root = new Command('tesserae')
    .description('Trains Transformers.')
    .version(version)
    .showHelpAfterError('(see --help)')
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae train config.json           train the model that config.json describes
  $ tesserae sample runs/config          let the trained model write
  $ tesserae prepare book.txt --output data/book   make token files, for texts of any size
  $ tesserae average runs/config runs/mean --last 5
                                         average the last checkpoints of a run
  $ tesserae plan config.json            see what a step costs before running it
  $ tesserae schedule config.json        see the learning rate of every step before running it

The smallest config.json:
  {
    "model": { "type": "gpt2", "nLayer": 4, "nEmbd": 128, "nHead": 4, "nPositions": 128 },
    "data": { "text": "book.txt" },
    "training": { "maxSteps": 1000 }
  }
Every setting, for editors: "$schema": "./node_modules/tesserae/dist/config.schema.json"

Exit codes: 0 done, 1 failed, 2 wrong usage; stopped by a signal, saved: 130 SIGINT, 143 SIGTERM, 138 SIGUSR1.`,
    );

  root
    .command('train')
    .summary('train a model')
    .description(
      'Trains the model that a configuration describes. Writes metrics.jsonl, loss.svg and checkpoint-<step> folders to ' +
        'its outputDir. Ctrl-C, SIGTERM and SIGUSR1 stop after the current step and save; the same command goes on from ' +
        'there, as it does after a crash.',
    )
    .argument('<config>', 'JSON file with model, data and training')
    .option('--max-steps <n>', 'optimizer steps, instead of training.maxSteps', integer(1))
    .option('--batch-size <n>', 'rows of a micro-batch, instead of training.batchSize', integer(1))
    .option('--learning-rate <rate>', 'instead of training.learningRate', positive)
    .option('--seed <n>', 'instead of training.seed', integer(0))
    .option('--output-dir <folder>', 'instead of training.outputDir')
    .addOption(new Option('--report-to <sink...>', 'instead of training.reportTo').choices(['tensorboard']))
    .addOption(device())
    .addOption(threads())
    .addOption(precision())
    .option(
      '--profile',
      'measure some steps, operation by operation, instead of training; leaves profile.svg',
    )
    .option('--json', 'print events as JSON lines on standard output, or the profile as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae train config.json
  $ tesserae train config.json --max-steps 50 --output-dir runs/trial
  $ tesserae train config.json --profile`,
    )
    .action(async (file: string, options: TrainOptions) => {
      const { device: on, threads: count, precision: mode, profile, json, outputDir, ...rest } = options;
      const overrides = {
        ...rest,
        ...(outputDir === undefined ? {} : { outputDir: path.resolve(outputDir) }),
      };
      const command = {
        overrides,
        device: on,
        ...(count === undefined ? {} : { threads: count }),
        ...(mode === undefined ? {} : { precision: mode }),
        json: json ?? false,
        profile: profile ?? false,
      };
      done(await train(file, command));
    });

  root
    .command('sample')
    .summary('continue a text with a trained model')
    .description('Continues a text with a trained model; prints it as it comes.')
    .argument('<folder>', 'outputDir of a run (its newest checkpoint is used), or a checkpoint')
    .option('--prompt <text>', 'text to continue', '\n')
    .option('--max-new-tokens <n>', 'tokens to write', integer(1), 200)
    .option('--temperature <number>', '0 takes the most probable token, higher is more varied', positive, 0.8)
    .option('--top-k <n>', 'draw from so many of the most probable tokens alone', integer(1))
    .option('--top-p <number>', 'draw from the fewest tokens that together have this probability', positive)
    .option('--min-p <number>', 'draw from tokens this times as probable as the most probable one', positive)
    .option('--repetition-penalty <number>', 'above 1: tokens that were there come less often', positive)
    .option('--stop <text...>', 'texts at which to end')
    .option('--seed <n>', 'the same seed gives the same text', integer(0), 0)
    .addOption(
      new Option('--weights <which>', 'the trained weights, or their moving average (training.emaDecay)')
        .choices(['trained', 'ema'])
        .default('trained'),
    )
    .addOption(device())
    .addOption(threads())
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae sample runs/config --prompt "Call me" --max-new-tokens 400
  $ tesserae sample runs/config --prompt "Call me" --top-p 0.9 --stop "."`,
    )
    .action(async (folder: string, options: SampleCommand) => done(await sample(folder, options)));

  root
    .command('prepare')
    .summary('turn texts into token files')
    .description(
      'Tokenises text files (.txt, .text, .md), JSON lines (.jsonl, .ndjson; a document a line) and folders of them into ' +
        "a folder with train.bin and val.bin, which a configuration's data.tokens names. The tokenizer's end-of-text token, " +
        'where it has one, follows each document. The folder is there as a whole or not at all; it is replaced only by ' +
        'what is made of the same inputs.',
    )
    .argument('<inputs...>', 'text files, files of JSON lines, and folders')
    .requiredOption('--output <folder>', 'the folder to make')
    .option('--tokenizer <byte or file>', 'byte, or a tokenizer.json', 'byte')
    .addOption(
      new Option('--format <layout>', "nanoGPT's layout, ids alone, or llm.c's, with a header")
        .choices(TOKEN_FORMATS)
        .default('nanogpt'),
    )
    .addOption(
      new Option('--dtype <type>', 'how an id is stored (default: uint16 where the vocabulary fits)').choices(
        TOKEN_DTYPES,
      ),
    )
    .option(
      '--validation-fraction <share>',
      'share of the texts, from their end, that is kept for validation',
      fraction,
      0.1,
    )
    .option('--text-key <name>', 'where JSON lines have their text', 'text')
    .option('--workers <n>', 'threads (default: one a processor); they do not change the result', integer(1))
    .option('--json', 'print what was made as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae prepare book.txt --output data/book
  $ tesserae prepare corpus/ more.jsonl --output data/corpus --tokenizer gpt2/tokenizer.json`,
    )
    .action(async (inputs: string[], { json, ...options }: PrepareOptions) =>
      done(await prepare(inputs, { ...options, json: json ?? false })),
    );

  root
    .command('average')
    .summary('average the weights of several checkpoints')
    .description(
      'Writes a model whose weights are the mean of those of the last checkpoints of a run, or of the checkpoints named. ' +
        'It can be sampled and loaded, not resumed.',
    )
    .argument('<folders...>', 'a run, or two checkpoints and more; the last folder is the one to write')
    .option('--last <n>', 'how many checkpoints of the run, from the newest', integer(2))
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae average runs/config runs/mean --last 5
  $ tesserae average runs/config/checkpoint-900 runs/config/checkpoint-1000 runs/mean`,
    )
    .action(async (folders: string[], options: { last?: number }, command: Command) => {
      const output = folders.at(-1);
      if (folders.length < 2 || output === undefined)
        command.error('error: give what to average and, last, the folder to write');
      done(await average({ sources: folders.slice(0, -1), output, ...options }));
    });

  root
    .command('plan')
    .summary('tell what a training step costs, without running it')
    .description(
      'Prints the operations of a training step with shapes, traffic and roofline time, its memory by owner, what was ' +
        'padded, and the largest batch that fits. Nothing is allocated; the chip need not be there.',
    )
    .argument('<config>', 'JSON file; only its model is needed')
    .option('--chip <name>', 'the chip to plan for, such as h100, a100 or cpu')
    .addOption(precision())
    .option('--batch-size <n>', 'rows of a micro-batch, instead of training.batchSize', integer(1))
    .option(
      '--memory <size>',
      "memory for the largest batch, such as 24GiB (default: the chip's)",
      parseBytes,
    )
    .option('--all', 'list every call with its inputs, instead of one row for repeated blocks')
    .option('--json', 'print the plan as JSON')
    .addHelpText(
      'after',
      `
Example:
  $ tesserae plan config.json --chip h100 --precision bf16 --memory 24GiB`,
    )
    .action(async (file: string, { all, json, ...options }: PlanOptions) =>
      done(await plan(file, { ...options, all: all ?? false, json: json ?? false })),
    );

  root
    .command('schedule')
    .summary('show the learning rate of every step, without running it')
    .description(
      'Prints the phases of the learning rate that the training section asks for, with their steps and rates, and draws ' +
        'them. A rate that is negative or not finite is an error.',
    )
    .argument('<config>', 'JSON file with training')
    .option('--svg <file>', 'draw the schedule to this file')
    .addHelpText(
      'after',
      `
Example:
  $ tesserae schedule config.json --svg schedule.svg`,
    )
    .action(async (file: string, options: { svg?: string }) => done(await schedule(file, options)));

  root
    .command('doctor')
    .summary('tell what works on this machine, and what to do about the rest')
    .description(
      'Looks at Node.js, the system, the addon, the NVIDIA driver, GPUs and libraries, and trains a tiny model on each ' +
        'device in a process of its own. Of each problem it tells one cause and one command.',
    )
    .option('--json', 'print findings as JSON lines')
    .addHelpText(
      'after',
      `
Example:
  $ tesserae doctor`,
    )
    .action(async ({ json }: { json?: true }) => done(await doctor({ json: json ?? false })));

  root
    .command('completion')
    .summary('print a script that completes this command line')
    .description('Prints a script that completes commands, options and their choices in a shell.')
    .addArgument(new Argument('<shell>', 'where it will run').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  $ source <(tesserae completion bash)                        # in ~/.bashrc; zsh likewise
  $ tesserae completion fish > ~/.config/fish/completions/tesserae.fish`,
    )
    .action((shell: Shell) => {
      process.stdout.write(completion(shell, root));
    });
  return root;
}

/** Runs the command line; gives the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  let code = 0;
  try {
    await program((given) => (code = given)).parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
    process.stderr.write(`${args.includes('--json') ? errorJson(error) : errorLine(error)}\n`);
    return FAILED;
  }
}

function errorLine(error: unknown): string {
  if (error instanceof TesseraeError) return `${pc.red('error')} ${error.code}: ${error.message}`;
  if (!(error instanceof Error)) return `${pc.red('error')} ${String(error)}`;
  // The system's own errors say what is wrong; anything else is a mistake that a report needs the stack of.
  return `${pc.red('error')} ${'syscall' in error ? error.message : (error.stack ?? error.message)}`;
}

function errorJson(error: unknown): string {
  const { code, details } = error instanceof TesseraeError ? error : { code: 'ERR_INTERNAL', details: {} };
  return JSON.stringify({
    type: 'error',
    code,
    message: error instanceof Error ? error.message : String(error),
    details,
  });
}

if (require.main === module) {
  // A reader that has seen enough, such as head, closes the pipe.
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? 0 : FAILED),
  );
  void main(process.argv.slice(2)).then((code) => (process.exitCode = code));
}
