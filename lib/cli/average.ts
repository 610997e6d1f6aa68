import { Command } from 'commander';
import { averageCheckpoints } from '../checkpoint/averaging';
import { integer, jsonOption, type Done } from './options';
import { safeText } from '../report/safe_text';
import { print, printJson, shownPath } from './terminal';

export const averageCommand = (done: Done): Command =>
  new Command('average')
    .summary('average the weights of several checkpoints')
    .description(
      'Writes a model whose weights are the mean of the last checkpoints of a run, or of the given checkpoints. You can ' +
        'sample and load the result, but not resume it.',
    )
    .argument('<folders...>', 'a run, or two or more checkpoints; then the folder to write')
    .option('--last <n>', 'how many of the newest checkpoints of the run to average', integer(2))
    .addOption(jsonOption('the averaged checkpoints as JSON'))
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae average runs/config runs/mean --last 5
  $ tesserae average runs/config/checkpoint-900 runs/config/checkpoint-1000 runs/mean`,
    )
    .action(async (folders: string[], options: { last?: number; json?: true }, command: Command) => {
      const output = folders.at(-1);
      if (folders.length < 2 || output === undefined)
        command.error('error: give what to average, then the folder to write');
      if (folders.length === 2 && options.last === undefined)
        command.error('error: for a run, say how many checkpoints to average, such as --last 5');
      done(await average({ sources: folders.slice(0, -1), output, ...options }));
    });

/** What the command line says. */
interface AverageOptions {
  /** Folder of a run, or checkpoints. */
  readonly sources: readonly string[];
  readonly output: string;
  /** How many checkpoints of a run. */
  readonly last?: number;
  readonly json?: true;
}

/** `tesserae average`: writes the mean of several checkpoints as a model. Returns the exit code. */
async function average({ sources, output, last, json }: AverageOptions): Promise<number> {
  const [run] = sources;
  const isRun = sources.length === 1 && run !== undefined;
  const { directory, checkpoints, damaged } = await averageCheckpoints(
    isRun ? run : sources,
    output,
    last === undefined ? {} : { last },
  );
  for (const { message } of damaged)
    print(`${safeText(message)}: an earlier checkpoint is used instead\n`, process.stderr);
  if (json) {
    printJson({ type: 'average', folder: directory, checkpoints });
    return 0;
  }
  for (const checkpoint of checkpoints) print(`averaged  ${shownPath(checkpoint)}\n`);
  print(`written   ${shownPath(directory)}\n`);
  return 0;
}
