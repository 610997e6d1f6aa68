import path from 'node:path';
import { Command, Option } from 'commander';
import { findCheckpoint, loadModel, saveModel } from '../checkpoint/checkpoint';
import { STORED_DTYPES, type StoredDtype } from '../checkpoint/floats';
import { TesseraeError } from '../errors';
import { whatIsOwn } from '../models/families';
import { withoutUndefined } from '../models/validation';
import { jsonOption, weightsOption, type Done } from './options';
import { print, printJson, shownPath } from './terminal';

interface ExportOptions {
  readonly dtype: StoredDtype;
  readonly weights: 'trained' | 'ema';
  readonly json?: true;
}

export const exportCommand = (done: Done): Command =>
  new Command('export')
    .summary('write a trained model for transformers')
    .description(
      "Writes a checkpoint as a folder that Hugging Face's transformers loads: config.json, model.safetensors and, if the " +
        'model has a tokenizer.json, the files for AutoTokenizer. It replaces an earlier export, but no other folder.',
    )
    .argument('<folder>', 'outputDir of a run (its newest checkpoint is used), or a checkpoint')
    .argument('<output>', 'the folder to write')
    .addOption(
      new Option('--dtype <type>', 'type of the stored weights').choices(STORED_DTYPES).default('f32'),
    )
    .addOption(weightsOption())
    .addOption(jsonOption('the result as JSON'))
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae export runs/config published
  $ tesserae export runs/config published --dtype bf16 --weights ema`,
    )
    .action(async (folder: string, output: string, options: ExportOptions) =>
      done(await exportModel(folder, output, options)),
    );

/** `tesserae export`: writes a checkpoint for transformers. Returns the exit code. */
async function exportModel(
  folder: string,
  output: string,
  { dtype, weights, json }: ExportOptions,
): Promise<number> {
  const checkpoint = await findCheckpoint(folder);
  if (path.resolve(checkpoint) === path.resolve(output))
    throw new TesseraeError('ERR_CONFIG', `'${output}' is the checkpoint itself: choose another folder`, {
      details: { path: 'output' },
    });
  const { model, directory, ...saved } = await loadModel(checkpoint, { device: 'cpu', weights });
  using _model = model;
  const own = whatIsOwn(model.config);
  if (own !== undefined)
    throw new TesseraeError(
      'ERR_CONFIG',
      `transformers has no model with ${own}: load the checkpoint with loadModel of tesserae instead`,
      { details: { path: own.split(' ')[0] } },
    );
  await saveModel(model, output, { ...withoutUndefined(saved), dtype });
  if (json) printJson({ type: 'export', checkpoint: directory, weights, folder: output, dtype });
  else
    print(
      `exported  ${shownPath(directory)}, ${weights} weights\nwritten   ${shownPath(output)}, ${dtype}\n`,
    );
  return 0;
}
