import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { TesseraeError } from '../errors';
import { scheduleSvg, scheduleText } from '../report/schedule_plot';
import { scheduleOf } from '../training/arguments';
import { readRunConfig } from './config';
import { shownPath } from './terminal';

/** `tesserae schedule`: prints the phases of a run's learning rate, and draws it to `svg`. Gives the exit code. */
export async function schedule(file: string, { svg }: { readonly svg?: string }): Promise<number> {
  const { training } = await readRunConfig(file);
  if (!training)
    throw new TesseraeError(
      'ERR_CONFIG',
      `${file}: training is missing; its schedule is what this shows, such as "training": { "maxSteps": 1000 }`,
      { details: { file, path: 'training' } },
    );
  const planned = scheduleOf(training);
  process.stdout.write(`${scheduleText(planned)}\n`);
  if (svg === undefined) return 0;
  const name = path.basename(file).replace(/\.json$/, '');
  await writeFile(svg, scheduleSvg(planned, { title: `${name}: learning rate` }));
  process.stdout.write(`\npicture  ${shownPath(svg)}\n`);
  return 0;
}
