import path from 'node:path';
import { Command } from 'commander';
import { messageOf, TesseraeError } from '../errors';
import { writeTextFile } from '../files/regular_file';
import { scheduleSvg, scheduleText } from '../report/schedule_plot';
import { scheduleOf } from '../training/arguments';
import { readRunConfig } from './config';
import { jsonOption, type Done } from './options';
import { print, printJson, shownPath } from './terminal';

interface ScheduleOptions {
  svg?: string;
  json?: true;
}

export const scheduleCommand = (done: Done): Command =>
  new Command('schedule')
    .summary('show the learning rate of every step without running it')
    .description(
      "Prints the phases of a configuration's learning-rate schedule with their steps and rates, and can draw them. A rate " +
        'that is negative or not finite is an error.',
    )
    .argument('<config>', 'JSON file with training')
    .option('--svg <file>', 'draw the schedule to this SVG file')
    .addOption(jsonOption('the phases and the rate of every step as JSON'))
    .addHelpText(
      'after',
      `
Example:
  $ tesserae schedule config.json --svg schedule.svg`,
    )
    .action(async (file: string, options: ScheduleOptions) => done(await schedule(file, options)));

/** `tesserae schedule`: prints the phases of a run's learning rate, and draws it to `svg`. Returns the exit code. */
async function schedule(file: string, { svg, json }: ScheduleOptions): Promise<number> {
  const { training } = await readRunConfig(file);
  if (!training)
    throw new TesseraeError(
      'ERR_CONFIG',
      `${file}: training is missing, so there is no schedule: add it, such as "training": { "maxSteps": 1000 }`,
      { details: { file, path: 'training' } },
    );
  const planned = scheduleOf(training);
  if (svg !== undefined) {
    const name = path.basename(file).replace(/\.json$/, '');
    await writeTextFile(svg, scheduleSvg(planned, { title: `${name}: learning rate` })).catch(
      (cause: unknown) => {
        throw new TesseraeError('ERR_CONFIG', `the picture can't be written: ${messageOf(cause)}`, {
          details: { path: svg },
          cause,
        });
      },
    );
  }
  if (json) {
    const { phases, rates } = planned;
    printJson({ type: 'schedule', phases, rates: Array.from(rates) });
    return 0;
  }
  print(`${scheduleText(planned)}\n`);
  if (svg !== undefined) print(`\npicture  ${shownPath(svg)}\n`);
  return 0;
}
