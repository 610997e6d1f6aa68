import type { Command } from 'commander';
import type { Device } from '../models/device';
import type { Padding, Precision } from '../native';
import { AmountProgress, productsText } from '../report/amount_progress';
import { formatSeconds } from '../report/format';
import { productCells, PRODUCT_COLUMNS } from '../report/product_text';
import { textTable } from '../report/table';
import { trainingArgumentsSchema } from '../training/arguments';
import { tune, type TunedKernel, type TuneResult } from '../training/tuning';
import { readRunConfig } from './config';
import { Interrupt } from './interrupt';
import { deviceOption, jsonOption, precisionOption, type Done } from './options';
import { runSchema } from './run_configuration';
import { overridingOption, settingOption, SettingsCommand } from './setting_options';
import { print, printJson, shownPath } from './terminal';

interface TuneCommandOptions {
  device: string;
  precision?: Precision;
  padding?: Padding;
  batchSize?: number;
  json?: true;
}

export const tuneCommand = (done: Done): Command =>
  new SettingsCommand('tune')
    .summary('find the fastest kernels for the matrix products of a training step')
    .description(
      'Measures each matrix product of a training step on a GPU by every kernel that computes it, and keeps the fastest in ' +
        'a cache, which training and plan read. Ctrl-C stops it; products that were measured are kept.',
    )
    .argument('<config>', 'JSON file; only its model is required')
    .addOption(deviceOption())
    .addOption(precisionOption())
    .addOption(settingOption(runSchema, 'padding', { byDefault: "the configuration's, else 'default'" }))
    .addSettings(trainingArgumentsSchema, [overridingOption('batchSize')])
    .addOption(jsonOption('the measurements as JSON'))
    .addHelpText(
      'after',
      `
The cache is $TESSERAE_CACHE/products-<chip>.json, by default in ~/.cache/tesserae. Delete it to undo.

Example:
  $ tesserae tune config.json --batch-size 32`,
    )
    .action(async (file: string, options: TuneCommandOptions) => done(await tuneConfig(file, options)));

/** `tesserae tune`: fills the cache of kernels for a configuration. Returns the exit code. */
async function tuneConfig(file: string, options: TuneCommandOptions): Promise<number> {
  const { model, training, padding: ofFile } = await readRunConfig(file);
  const { batchSize = training?.batchSize, device, precision, padding = ofFile, json = false } = options;
  const progress = new AmountProgress(productsText);
  using interrupt = new Interrupt(
    () => undefined,
    () => progress.stop(),
  );
  let result: TuneResult;
  try {
    result = await tune(model, {
      arguments: { ...training, ...(batchSize === undefined ? {} : { batchSize }) },
      device: device as Device,
      ...(precision === undefined ? {} : { precision }),
      ...(padding === undefined ? {} : { padding }),
      signal: interrupt.signal,
      onProgress: progress.update,
    });
  } finally {
    progress.stop();
  }
  if (json) printJson(result, 2);
  else print(tuneText(result));
  return interrupt.exitCode;
}

/** What was measured as a table: each product with its kernel and time before and after, and what a step gains. */
export function tuneText({ products, stepSeconds, file, stopped, chip, precision }: TuneResult): string {
  const { before, after } = stepSeconds;
  const share = before > 0 ? `, ${(100 * (1 - after / before)).toFixed(1)} % less` : '';
  const saved = stopped ? `stopped after ${products.length} products, which are saved` : 'saved';
  return [
    ...(products.length > 0 ? [table(products), ''] : []),
    `matrix products of a step: ${formatSeconds(before)} → ${formatSeconds(after)}${share} (${chip}, ${precision})`,
    `${saved} in ${shownPath(file)}`,
    '',
  ].join('\n');
}

const table = (products: readonly TunedKernel[]): string =>
  textTable(
    [
      ...PRODUCT_COLUMNS,
      { title: 'runs', align: 'right' },
      { title: 'before' },
      { title: 'time', align: 'right' },
      { title: 'after' },
      { title: 'time', align: 'right' },
      { title: 'of roofline', align: 'right' },
    ],
    products.map(({ runs, before, after, rooflineSeconds, ...product }) => [
      ...productCells(product),
      String(runs),
      before.kernel,
      formatSeconds(before.seconds),
      ...(after.kernel === before.kernel ? ['same', ''] : [after.kernel, formatSeconds(after.seconds)]),
      `${((100 * rooflineSeconds) / after.seconds).toFixed(0)} %`,
    ]),
  );
