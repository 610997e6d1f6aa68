import type { Command } from 'commander';
import type { Padding, Precision } from '../native';
import { planText } from '../report/plan_table';
import { trainingArgumentsSchema } from '../training/arguments';
import { planStep, stepArguments } from '../training/planning';
import { readRunConfig } from './config';
import { bytes, jsonOption, precisionOption, type Done } from './options';
import { runSchema } from './run_configuration';
import { overridingOption, settingOption, SettingsCommand } from './setting_options';
import { print, printJson } from './terminal';

interface PlanOptions {
  chip?: string;
  precision?: Precision;
  padding?: Padding;
  batchSize?: number;
  /** Bytes that the largest batch may use. */
  memory?: number;
  all?: true;
  json?: true;
}

export const planCommand = (done: Done): Command =>
  new SettingsCommand('plan')
    .summary('predict the cost of a training step without running it')
    .description(
      'Prints the operations of a training step with shapes, memory traffic and roofline time, the memory by owner, the ' +
        'padding, and the largest batch that fits. It allocates nothing and does not need the chip.',
    )
    .argument('<config>', 'JSON file; only its model is required')
    .option('--chip <name>', 'the chip to plan for, such as h100, a100 or cpu')
    .addOption(precisionOption())
    .addOption(settingOption(runSchema, 'padding', { byDefault: "the configuration's, else 'default'" }))
    .addSettings(trainingArgumentsSchema, [overridingOption('batchSize')])
    .option(
      '--memory <size>',
      "memory that the largest batch may use, such as 24GiB (default: the chip's)",
      bytes,
    )
    .option('--all', 'list every call with its inputs; by default repeated blocks share a row')
    .addOption(jsonOption('the plan as JSON'))
    .addHelpText(
      'after',
      `
Example:
  $ tesserae plan config.json --chip h100 --precision bf16 --memory 24GiB`,
    )
    .action(async (file: string, options: PlanOptions) => done(await plan(file, options)));

/** `tesserae plan`: predicts the cost of a training step. Returns the exit code. */
async function plan(file: string, options: PlanOptions): Promise<number> {
  const { batchSize, all = false, json = false, ...request } = options;
  const { model, training, padding } = await readRunConfig(file);
  const args = stepArguments({ ...training, ...(batchSize === undefined ? {} : { batchSize }) }, 'training');
  const result = planStep(model, args, { ...(padding === undefined ? {} : { padding }), ...request });
  if (json) printJson(result, 2);
  else print(planText(result, { all }));
  return 0;
}
