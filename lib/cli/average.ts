import { averageCheckpoints } from '../checkpoint/averaging';
import { shownPath } from './terminal';

/** What the command line says. */
export interface AverageCommand {
  /** Folder of a run, or checkpoints. */
  readonly sources: readonly string[];
  readonly output: string;
  /** How many checkpoints of a run. */
  readonly last?: number;
}

/** `tesserae average`: writes the mean of several checkpoints as a model. Gives the exit code. */
export async function average({ sources, output, last }: AverageCommand): Promise<number> {
  const [run] = sources;
  const isRun = sources.length === 1 && run !== undefined;
  const { directory, checkpoints, damaged } = await averageCheckpoints(
    isRun ? run : sources,
    output,
    last === undefined ? {} : { last },
  );
  for (const { message } of damaged) process.stderr.write(`${message}: an earlier checkpoint is used\n`);
  for (const checkpoint of checkpoints) process.stdout.write(`averaged  ${shownPath(checkpoint)}\n`);
  process.stdout.write(`written   ${shownPath(directory)}\n`);
  return 0;
}
