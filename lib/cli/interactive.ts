import { createInterface } from 'node:readline';
import { InvalidArgumentError } from 'commander';
import { TesseraeError } from '../errors';
import { colorsFor } from '../report/colors';
import type { Sampler } from '../sampling/sampler';
import { Interrupt } from './interrupt';
import { parseSetting, samplingOptions, withDefaults, type SamplingOptions } from './sampling_options';
import { errorLine, print } from './terminal';

/** Answers one prompt on standard output. */
export type Answer = (
  sampler: Sampler,
  prompt: string,
  options: SamplingOptions & { readonly signal: AbortSignal },
) => Promise<void>;

/** Where lines come from, and where prompts and help go. */
export interface Terminal {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly output: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

const HELP = `Type a prompt to continue it, or a command:
  /set <option> <value>   changes an option, such as /set temperature 0.5
  /help                   shows this help
  /quit                   quits, like Ctrl-D
Ctrl-C stops the current text, or quits if there is none.`;

/**
 * `tesserae sample --interactive`: answers each line. A terminal gets a prompt and commands. From a pipe each line is taken as
 * it is, and the first error ends the command. Returns the exit code.
 */
export async function converse(
  sampler: Sampler,
  options: SamplingOptions,
  answer: Answer,
  { input, output }: Terminal = { input: process.stdin, output: process.stderr },
): Promise<number> {
  if (input.isTTY && output.isTTY) return talk(sampler, options, answer, { input, output });
  const lines = createInterface({ input, crlfDelay: Infinity });
  using interrupt = new Interrupt(() => lines.close());
  for await (const line of lines) {
    if (interrupt.requested) break;
    await answer(sampler, line, { ...options, signal: interrupt.signal });
  }
  return interrupt.exitCode;
}

async function talk(
  sampler: Sampler,
  given: SamplingOptions,
  answer: Answer,
  { input, output }: Terminal,
): Promise<number> {
  let options = given;
  let underWay: AbortController | undefined;
  let left = false;
  const { dim } = colorsFor(output);
  const lines = createInterface({ input, output, terminal: true, prompt: dim('> ') });
  const write = (text: string): void => print(`${text}\n`, output);
  const leave = (): void => lines.close();
  lines.on('SIGINT', () => {
    if (!underWay || underWay.signal.aborted) leave();
    else underWay.abort();
  });
  lines.on('close', () => {
    left = true;
    underWay?.abort();
  });
  const obey = (line: string): void => {
    const [, command, rest = ''] = /^\/(\w*)\s*(.*)$/.exec(line) ?? [];
    if (command === 'quit') leave();
    else if (command === 'set') options = { ...options, ...parseSetting(rest) };
    else if (command !== 'help') write(`unknown command /${command ?? ''}: /help lists the commands`);
    else write(`${HELP}\n${settings(options)}`);
  };
  write(dim('Type a text to continue it; /help shows more, Ctrl-D quits.'));
  lines.prompt();
  for await (const line of lines) {
    underWay = new AbortController();
    try {
      if (line.startsWith('/')) obey(line);
      else await answer(sampler, line, { ...options, signal: underWay.signal });
    } catch (error) {
      if (error instanceof InvalidArgumentError) write(error.message);
      else if (error instanceof TesseraeError) write(errorLine(error));
      else throw error;
    }
    underWay = undefined;
    if (left) break;
    lines.prompt();
  }
  return 0;
}

/** Every option with its value, if it has one. */
function settings(options: SamplingOptions): string {
  const values = withDefaults(options) as Readonly<Record<string, unknown>>;
  return samplingOptions()
    .map((option) => {
      const value = values[option.attributeName()];
      return `  ${option.name()}${value === undefined ? '' : ` ${JSON.stringify(value)}`}`;
    })
    .join('\n');
}
