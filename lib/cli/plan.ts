import type { Command } from 'commander';
import type { Precision } from '../native';
import { planText } from '../report/plan_table';
import { trainingArgumentsSchema } from '../training/arguments';
import { planStep, stepArguments } from '../training/planning';
import { readRunConfig } from './config';
import { bytes, jsonOption, precisionOption, type Done } from './options';
import { overridingOption, SettingsCommand } from './setting_options';
import { print, printJson } from './terminal';

interface PlanOptions {
  chip?: string;
  precision?: Precision;
  batchSize?: number;
  /** Bytes for which the largest batch is sought. */
  memory?: number;
  all?: true;
  json?: true;
}

export const planCommand = (done: Done): Command =>
  new SettingsCommand('plan')
    .summary('tell what a training step costs, without running it')
    .description(
      'Prints the operations of a training step with shapes, traffic and roofline time, its memory by owner, what was ' +
        'padded, and the largest batch that fits. Nothing is allocated; the chip need not be there.',
    )
    .argument('<config>', 'JSON file; only its model is needed')
    .option('--chip <name>', 'the chip to plan for, such as h100, a100 or cpu')
    .addOption(precisionOption())
    .addSettings(trainingArgumentsSchema, [overridingOption('batchSize')])
    .option('--memory <size>', "memory for the largest batch, such as 24GiB (default: the chip's)", bytes)
    .option('--all', 'list every call with its inputs, instead of one row for repeated blocks')
    .addOption(jsonOption('the plan as JSON'))
    .addHelpText(
      'after',
      `
Example:
  $ tesserae plan config.json --chip h100 --precision bf16 --memory 24GiB`,
    )
    .action(async (file: string, options: PlanOptions) => done(await plan(file, options)));

/** `tesserae plan`: tells what a training step would do, without doing it. Gives the exit code. */
async function plan(file: string, options: PlanOptions): Promise<number> {
  const { batchSize, all = false, json = false, ...request } = options;
  const { model, training } = await readRunConfig(file);
  const args = stepArguments({ ...training, ...(batchSize === undefined ? {} : { batchSize }) }, 'training');
  const result = planStep(model, args, request);
  if (json) printJson(result, 2);
  else print(planText(result, { all }));
  return 0;
}
