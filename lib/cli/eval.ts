import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { findCheckpoint, loadModel, type LoadedModel } from '../checkpoint/checkpoint';
import { ByteCount } from '../data/byte_count';
import type { Dataset } from '../data/dataset';
import { readText } from '../data/text_source';
import { TokenWindows } from '../data/token_windows';
import { TesseraeError } from '../errors';
import type { PackedBatch } from '../models/packed_batch';
import { AmountProgress, tokensText } from '../report/amount_progress';
import { formatCount } from '../report/format';
import { checkFits } from '../training/dataset_fit';
import { evaluateModel } from '../training/evaluation';
import { readTrainableRun, type DataRun } from './config';
import { openData, requireSameTokens } from './data';
import { Interrupt } from './interrupt';
import {
  deviceOption,
  integer,
  jsonOption,
  modelOptions,
  precisionOption,
  threadsOption,
  weightsOption,
  type ComputeOptions,
  type Done,
} from './options';
import { labelled, print, printJson, shownPath } from './terminal';

interface EvalOptions extends ComputeOptions {
  readonly batchSize: number;
  readonly maxBatches?: number;
  readonly weights: 'trained' | 'ema';
  readonly json?: true;
}

export const evalCommand = (done: Done): Command =>
  new Command('eval')
    .summary('measure how well a trained model predicts a text')
    .description(
      'Prints the mean loss per token, the perplexity and, if the bytes of the text are known, bits per byte. Given only a ' +
        "configuration, it evaluates its run's newest checkpoint on the run's validation data. Otherwise give files; the " +
        'type of a file is inferred from its name: token files for .bin and for folders of tesserae prepare (their ' +
        'val.bin), sequences for .jsonl, text for any other.',
    )
    .argument(
      '<model>',
      'outputDir of a run (its newest checkpoint is used), a checkpoint, or a configuration',
    )
    .argument('[data...]', 'files to evaluate on (default: the validation data of the configuration)')
    .option('--batch-size <n>', 'rows to evaluate at a time', integer(1), 8)
    .option('--max-batches <n>', 'largest number of batches to evaluate (default: all)', integer(1))
    .addOption(weightsOption())
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addOption(precisionOption())
    .addOption(jsonOption('the result as JSON'))
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae eval config.json
  $ tesserae eval runs/config letters.txt
  $ tesserae eval runs/config/checkpoint-1000 data/book --weights ema --json`,
    )
    .action(async (model: string, data: string[], options: EvalOptions, command: Command) => {
      if (data.length === 0 && !model.endsWith('.json')) {
        await findCheckpoint(model);
        command.error(
          'error: give files to evaluate on, or a configuration, which names its validation data',
        );
      }
      done(await evaluate(model, data, options));
    });

/** The data to evaluate on. */
interface Evaluated extends AsyncDisposable {
  readonly dataset: Pick<Dataset, 'blockSize' | 'evaluationBatches'>;
  /** Tokens of the dataset. */
  readonly tokens: number;
  /** Counts the bytes of the tokens' text; undefined if there is no text. */
  readonly bytes: ByteCount | undefined;
}

/** `tesserae eval`: measures a checkpoint's loss. Returns the exit code. */
async function evaluate(name: string, files: readonly string[], options: EvalOptions): Promise<number> {
  const { batchSize: rows, maxBatches = Infinity, weights, json } = options;
  const run = name.endsWith('.json') ? await readTrainableRun(name, {}) : undefined;
  const directory = await findCheckpoint(run?.training.outputDir ?? name);
  const loaded = await loadModel(directory, { ...modelOptions(options), weights });
  using model = loaded.model;
  await using data =
    run && files.length === 0
      ? await openPart('validation', run.data, loaded)
      : await openFiles(files, loaded);
  const { dataset, tokens: all, bytes } = data;
  const progress = new AmountProgress(tokensText);
  using interrupt = new Interrupt(() => {
    progress.stop();
    process.exit(interrupt.exitCode);
  });
  const total = Math.min(all, maxBatches * rows * dataset.blockSize);
  const onBatch = (batch: PackedBatch, tokens: number): void => {
    bytes?.add(targetsOf(batch, model.tokens('eval').ignoreIndex));
    progress.update(Math.min(tokens, total), total);
  };
  const started = performance.now();
  const result = await evaluateModel(model, dataset, { rows, batches: maxBatches, onBatch }).finally(() =>
    progress.stop(),
  );
  const seconds = (performance.now() - started) / 1000;
  const { loss, perplexity, tokens } = result;
  const counted = bytes?.end() ?? 0;
  // The loss of all targets in bits, divided by the bytes of their text.
  const bitsPerByte = counted > 0 ? (loss * tokens) / (Math.LN2 * counted) : undefined;
  if (json) {
    const record = {
      type: 'eval',
      checkpoint: directory,
      weights,
      loss,
      perplexity,
      bitsPerByte,
      tokens,
      seconds,
    };
    printJson(record);
    return 0;
  }
  const lines: [string, string][] = [
    ['evaluated', `${shownPath(directory)}, ${formatCount(tokens)} tokens`],
    ['loss', `${loss.toFixed(4)} nats per token`],
    ['perplexity', perplexity.toPrecision(5)],
    ...(bitsPerByte === undefined ? [] : [['bits/byte', bitsPerByte.toFixed(4)] as [string, string]]),
  ];
  print(labelled(lines));
  return 0;
}

/** One part of a run's data. `train` is all of it if nothing is kept for validation. */
async function openPart(
  part: 'train' | 'validation',
  run: DataRun,
  { model, tokenizer, directory }: LoadedModel,
): Promise<Evaluated> {
  const data = await openData(run, model.config, directory);
  const { [part]: dataset, sizes } = data;
  try {
    if (!dataset)
      throw new TesseraeError('ERR_DATA', 'the data has no validation part: name the files to evaluate on', {
        details: { path: 'validation' },
      });
    requireSameTokens(`the checkpoint '${directory}'`, { model, tokenizer }, data);
    checkFits(dataset, model);
  } catch (error) {
    await data.close();
    throw error;
  }
  return {
    dataset,
    tokens: sizes[part],
    bytes: data.tokenizer && new ByteCount(data.tokenizer),
    [Symbol.asyncDispose]: () => data.close(),
  };
}

/** Larger texts take long to tokenize, and no string holds twice as much. */
const MOST_TEXT = 2 ** 28;

type Kind = 'folders' | 'token files' | 'sequences' | 'texts';

/** Opens files of one kind, inferred from their names. */
async function openFiles(files: readonly string[], loaded: LoadedModel): Promise<Evaluated> {
  const [kind, other] = new Set(await Promise.all(files.map(kindOf)));
  if (other !== undefined)
    throw new TesseraeError(
      'ERR_DATA',
      `the data has both ${kind ?? ''} and ${other}: give one kind at a time`,
    );
  switch (kind) {
    case 'folders':
      return openPart('validation', { tokens: files }, loaded);
    case 'token files':
      return openPart('train', { tokens: files, validationFraction: 0 }, loaded);
    case 'sequences':
      return openPart('train', { sequences: files, validationFraction: 0 }, loaded);
    default:
      return openText(files, loaded);
  }
}

async function kindOf(file: string): Promise<Kind> {
  const isFolder = await stat(file).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder) return 'folders';
  if (file.endsWith('.bin')) return 'token files';
  return /\.(jsonl|ndjson)$/.test(file) ? 'sequences' : 'texts';
}

/** Joins texts and tokenizes them as the checkpoint says. */
async function openText(
  files: readonly string[],
  { model, tokenizer, directory }: LoadedModel,
): Promise<Evaluated> {
  if (!tokenizer)
    throw new TesseraeError(
      'ERR_CHECKPOINT',
      `the checkpoint in '${directory}' has no tokenizer, so it can't read text: evaluate on .bin or .jsonl files`,
      { details: { directory } },
    );
  const { nPositions: blockSize } = model.tokens('text');
  checkFits({ blockSize, tokenizer, predictsNext: true }, model);
  const texts: Uint8Array[] = [];
  let bytes = 0;
  for (const file of files) {
    // readText reports a missing file.
    bytes += (await stat(file).catch(() => ({ size: 0 }))).size;
    if (bytes > MOST_TEXT)
      throw new TesseraeError(
        'ERR_DATA',
        `the texts up to '${file}' have ${bytes} bytes, but at most ${MOST_TEXT} can be read at once: make token files ` +
          'with tesserae prepare and evaluate on those',
        { details: { path: file, bytes } },
      );
    texts.push(await readText(file));
  }
  const ids = await tokenizer.encode(Buffer.concat(texts).toString('utf8'));
  return {
    dataset: new TokenWindows(ids, blockSize),
    tokens: ids.length,
    bytes: new ByteCount(tokenizer),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** The evaluated targets, in order. */
function* targetsOf({ inputs }: PackedBatch, ignoreIndex: number): Generator<number> {
  for (const target of inputs['targets'] ?? []) if (target !== ignoreIndex) yield target;
}
