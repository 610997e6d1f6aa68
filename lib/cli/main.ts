#!/usr/bin/env node
import { closeSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { isatty } from 'node:tty';
import { Command, CommanderError, type OutputConfiguration } from 'commander';
import { exhaustedError, messageOf, TesseraeError } from '../errors';
import { safeJson, safeText } from '../report/safe_text';
import { averageCommand } from './average';
import { completionCommand } from './completion';
import { doctorCommand } from './doctor';
import { evalCommand } from './eval';
import { exportCommand } from './export';
import type { Done } from './options';
import { planCommand } from './plan';
import { prepareCommand } from './prepare';
import { sampleCommand } from './sample';
import { scheduleCommand } from './schedule';
import { errorLine, print } from './terminal';
import { trainCommand } from './train';
import { tuneCommand } from './tune';

const FAILED = 1;
const WRONG_USAGE = 2;

/** In the order in which help lists them. */
const COMMANDS: readonly ((done: Done) => Command)[] = [
  trainCommand,
  evalCommand,
  sampleCommand,
  prepareCommand,
  averageCommand,
  exportCommand,
  planCommand,
  tuneCommand,
  scheduleCommand,
  doctorCommand,
];

/** The whole command line. It calls `done` with the exit code. `output` replaces the standard streams. */
export function program(done: Done, output: OutputConfiguration = {}): Command {
  const { version } = JSON.parse(readFileSync(path.resolve(__dirname, '../../package.json'), 'utf8')) as {
    version: string;
  };
  const root = new Command('tesserae')
    .description('Trains Transformers.')
    .version(version)
    .showHelpAfterError('(see --help)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => print(safeText(text)),
      writeErr: (text) => print(safeText(text), process.stderr),
      ...output,
    })
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae train config.json           train the model that config.json describes
  $ tesserae eval config.json            measure its loss on the validation data
  $ tesserae sample runs/config          generate text with the trained model
  $ tesserae prepare book.txt --output data/book   make token files from texts of any size
  $ tesserae average runs/config runs/mean --last 5
                                         average the last checkpoints of a run
  $ tesserae export runs/config published --dtype bf16
                                         write the model for transformers
  $ tesserae plan config.json            predict the cost of a step without running it
  $ tesserae tune config.json            find the fastest kernels for this GPU
  $ tesserae schedule config.json        show the learning rate of every step without running it

The smallest config.json:
  {
    "model": { "type": "gpt2", "nLayer": 4, "nEmbd": 128, "nHead": 4, "nPositions": 128 },
    "data": { "text": "book.txt" },
    "training": { "maxSteps": 1000 }
  }
For completion of every setting in an editor, add "$schema": "./node_modules/tesserae/dist/config.schema.json"

Exit codes: 0 done, 1 failed, 2 wrong usage. After saving on a signal: 130 SIGINT, 143 SIGTERM, 138 SIGUSR1,
129 SIGHUP (the terminal was closed).`,
    );

  for (const command of [...COMMANDS.map((make) => make(done)), completionCommand(root)])
    root.addCommand(command.copyInheritedSettings(root));
  return root;
}

/** Runs the command line. Returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const json = args.includes('--json');
  let code = 0;
  const root = program((given) => (code = given), json ? { writeErr: () => undefined } : {});
  try {
    await root.parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const usage = error instanceof CommanderError;
    // Commander has already reported wrong usage.
    if (json || !usage) tell(usage ? usageError(error) : coded(error), json);
    return usage ? WRONG_USAGE : FAILED;
  }
}

const coded = (error: unknown): unknown => exhaustedError('the command failed', error) ?? error;

const tell = (error: unknown, json: boolean): void =>
  print(`${json ? errorJson(error) : errorLine(error)}\n`, process.stderr);

const usageError = ({ message }: CommanderError): TesseraeError =>
  new TesseraeError('ERR_CONFIG', message.replace(/^error: /, ''));

function errorJson(error: unknown): string {
  const { code, details } = error instanceof TesseraeError ? error : { code: 'ERR_INTERNAL', details: {} };
  const line = {
    type: 'error',
    code,
    message: messageOf(error),
    details,
  };
  return safeJson(JSON.stringify(line));
}

/**
 * Handles standard output that can't be written. Training continues without it, because metrics.jsonl has the same
 * information; any other command ends.
 */
function watchOutput(args: readonly string[]): void {
  const trains = args[0] === 'train' && !args.includes('--profile');
  let failed = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough, such as head, closes the pipe. For a closed terminal the error is EIO.
    const hasNoReader = error.code === 'EPIPE' || (error.code === 'EIO' && process.stdout.isTTY);
    if (!hasNoReader && !failed) {
      failed = true;
      const goesOn = trains ? '; training continues, and metrics.jsonl has the same information' : '';
      const message = `standard output can't be written: ${error.message}${goesOn}`;
      tell(new TesseraeError('ERR_CONFIG', message, { cause: error }), args.includes('--json'));
    }
    if (!trains) process.exit(hasNoReader ? 0 : FAILED);
  });
  // The result does not depend on standard error.
  process.stderr.on('error', () => undefined);
  process.on('exit', (code) => {
    // A model that was trained and saved has not failed.
    if (failed && !trains && code === 0) process.exitCode = FAILED;
  });
}

/**
 * Lets a process that has outlived its terminal end with its exit code. When it exits, Node.js resets the terminals that it
 * started with and aborts if one is gone, but it ignores closed ones.
 */
function outliveTerminal(): void {
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on('exit', () => {
    for (const fd of terminals) if (!isatty(fd)) closeSync(fd);
  });
}

if (require.main === module) {
  const args = process.argv.slice(2);
  outliveTerminal();
  watchOutput(args);
  void main(args).then((code) => (process.exitCode = code));
}
