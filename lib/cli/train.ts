import path from 'node:path';
import type { Command } from 'commander';
import { isCheckpoint, loadModel } from '../checkpoint/checkpoint';
import { hasCheckpoints, removeLeftovers } from '../checkpoint/run_folder';
import { lockRun } from '../checkpoint/run_lock';
import type { TokenData } from '../data/worker_dataset';
import { TesseraeError } from '../errors';
import { Model, type ModelOptions } from '../models/model';
import type { Padding } from '../native';
import { colorsFor } from '../report/colors';
import { safeText } from '../report/safe_text';
import { formatCount, formatDuration } from '../report/format';
import { makeFolder } from '../report/make_folder';
import { RunReport } from '../report/run_report';
import { Sampler } from '../sampling/sampler';
import { trainingArgumentsSchema, type TrainingArguments } from '../training/arguments';
import type { TrainResult } from '../training/events';
import type { ResumeResult } from '../training/resume';
import { Trainer } from '../training/trainer';
import { readTrainableRun, type RunConfig, type SamplingConfig } from './config';
import { openData, requireSameTokens } from './data';
import { Interrupt } from './interrupt';
import {
  deviceOption,
  folderName,
  jsonOption,
  modelOptions,
  precisionOption,
  threadsOption,
  type ComputeOptions,
  type Done,
} from './options';
import { runSchema } from './run_configuration';
import { overridingOption, settingOption, SettingsCommand } from './setting_options';
import { profile } from './profile';
import { errorLine, labelled, print, printJson, printText, shownPath } from './terminal';

/** The training arguments that are options, and how help shows them. */
const OVERRIDES = {
  maxSteps: {},
  batchSize: {},
  learningRate: { argument: '<rate>' },
  seed: {},
  outputDir: { argument: '<folder>', read: folderName },
  reportTo: { argument: '<sink...>' },
} as const;

interface TrainOptions extends ComputeOptions, Partial<Pick<TrainingArguments, keyof typeof OVERRIDES>> {
  padding?: Padding;
  profile?: true;
  json?: true;
}

export const trainCommand = (done: Done): Command =>
  new SettingsCommand('train')
    .summary('train a model')
    .description(
      'Trains the model that a configuration describes. Writes metrics.jsonl, loss.svg and checkpoint-<step> folders to ' +
        'its outputDir. Ctrl-C, SIGTERM, SIGUSR1 and a closed terminal (SIGHUP) stop after the current step and save. The ' +
        'same command then resumes the run, also after a crash.',
    )
    .argument('<config>', 'JSON file with model, data and training')
    .addSettings(
      trainingArgumentsSchema,
      Object.entries(OVERRIDES).map(([name, option]) => overridingOption(name, option)),
    )
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addOption(precisionOption())
    .addOption(settingOption(runSchema, 'padding', { byDefault: "the configuration's, else 'default'" }))
    .option(
      '--profile',
      'measure some steps operation by operation, and write profile.svg, instead of training',
    )
    .addOption(jsonOption('events as JSON lines on standard output, or the profile as JSON'))
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae train config.json
  $ tesserae train config.json --max-steps 50 --output-dir runs/trial
  $ tesserae train config.json --profile`,
    )
    .action(async (file: string, options: TrainOptions) => {
      const { device, threads, precision, padding, profile, json, outputDir, ...rest } = options;
      const overrides = {
        ...rest,
        ...(outputDir === undefined ? {} : { outputDir: path.resolve(outputDir) }),
      };
      const where = {
        ...modelOptions({ device, threads, precision }),
        ...(padding === undefined ? {} : { padding }),
      };
      done(await train(file, { overrides, where, json: json ?? false, profile: profile ?? false }));
    });

/** What the command line adds to the configuration. */
interface TrainCommand {
  /** Values of `training` that override the file's. */
  readonly overrides: Readonly<Record<string, unknown>>;
  readonly where: ModelOptions;
  readonly json: boolean;
  /** Measure some steps instead of training. */
  readonly profile: boolean;
}

/**
 * `tesserae train`: trains a model and writes metrics, a loss curve and checkpoints. It resumes from the latest checkpoint in
 * the run's folder. With `--profile`, it measures some steps and writes a picture. Returns the exit code.
 */
async function train(file: string, command: TrainCommand): Promise<number> {
  // As long as there is nothing to save, a signal ends the process at once.
  let stop = (): void => process.exit(interrupt.exitCode);
  let hide = (): void => undefined;
  using interrupt = new Interrupt(
    () => stop(),
    () => hide(),
  );
  const run = await readTrainableRun(file, command.overrides);
  await using data = await openData(run.data, run.model, run.initFrom);
  using model = await modelOf(run, data, {
    ...(run.padding === undefined ? {} : { padding: run.padding }),
    ...command.where,
    seed: run.training.seed ?? 0,
  });
  if (command.profile) {
    if (!command.json) print(`${describe(model, data)}\n`, process.stderr);
    await profile(model, data.train, { training: run.training, json: command.json });
    return 0;
  }
  const trainer = new Trainer(model, {
    arguments: run.training,
    train: data.train,
    evaluation: data.validation,
  });
  const { outputDir: directory, maxSteps } = run.training;
  if (await isCheckpoint(directory))
    throw new TesseraeError(
      'ERR_CONFIG',
      `outputDir '${shownPath(directory)}' is itself a model, so later commands would not find this run's checkpoints in it. ` +
        'Choose another --output-dir',
      { details: { path: 'training.outputDir' } },
    );
  await makeFolder(directory).catch(() => undefined); // RunReport tells why it can't
  // The trainer's own: its report is written to the same folder.
  using _lock = await lockRun(directory, trainer, {
    shown: shownPath(directory),
    setting: 'training.outputDir',
  });
  await removeLeftovers(directory); // one may be a checkpoint that was moved aside before a crash
  const resumed = (await hasCheckpoints(directory)) ? await trainer.resume() : undefined;
  const report = await RunReport.create({
    directory,
    maxSteps,
    progress: !command.json,
    follow: trainer,
    ...(resumed ? { resumed: { step: resumed.step, path: resumed.path } } : {}),
  });
  stop = () => {
    trainer.stop();
    report.log('stopping after this step and saving; press Ctrl-C again to stop at once');
  };
  hide = () => report.hide();
  report.log(describe(model, data));
  if (resumed) tellResumed(resumed, report, command.json);
  let result: TrainResult | undefined;
  try {
    for await (const event of trainer) {
      report.add(event);
      if (command.json) printJson(event);
      if (event.type === 'end') result = event;
    }
  } finally {
    await report.close();
  }
  if (!command.json) {
    print(
      `\n${report.lossCurve()}\n\n${summary(result, report, { resumed, interrupted: interrupt.requested })}`,
    );
    const isStopped = result?.reason === 'stopped' && resumed?.step !== result.step;
    if (run.training.earlyStopping && isStopped && !interrupt.requested)
      print(labelled([['stopped', 'early: the validation loss stopped improving']]));
    const { tokenizer } = data;
    // Without a tokenizer there is no text to show. A model may have more rows than the tokenizer has tokens.
    if (!interrupt.requested && tokenizer && tokenizer.vocabSize <= model.tokens('a sample').vocabSize)
      await showSample(new Sampler(model, tokenizer), run.sampling, interrupt).catch((error: unknown) =>
        // The model is already trained and saved.
        print(`${errorLine(error)}\n`, process.stderr),
      );
  }
  return interrupt.exitCode;
}

/** A new model, or that of the checkpoint to start from, whose tokenizer must be that of the data. */
async function modelOf(
  run: RunConfig,
  data: Pick<TokenData, 'tokenizer' | 'vocabSize'>,
  options: ModelOptions,
): Promise<Model> {
  if (run.initFrom === undefined) return Model.create(run.model, options);
  const { model, tokenizer: own } = await loadModel(run.initFrom, options);
  try {
    requireSameTokens(`initFrom '${run.initFrom}'`, { model, tokenizer: own }, data);
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model;
}

/** Damage is always reported on standard error: a disk that loses bits should not go unnoticed. */
function tellResumed(
  { step, path, damaged, differences }: ResumeResult,
  report: RunReport,
  json: boolean,
): void {
  const { red } = colorsFor(process.stderr);
  const notes = [
    ...damaged.map(
      ({ message }) => `${red('damaged')} ${safeText(message)}: the previous checkpoint is used`,
    ),
    ...(differences.length > 0
      ? [`not bit for bit the same as an uninterrupted run, because ${differences.join(', ')}`]
      : []),
  ];
  for (const note of notes) print(`${note}\n`, process.stderr);
  report.log(`resumed · step ${step} of ${shownPath(path)}`);
  if (json) printJson({ type: 'resume', step, path });
}

function describe(model: Model, { sizes, tokenizer, validation }: TokenData): string {
  const { native, config, precision, threads, fallbackReason } = model;
  const device =
    model.device === 'cpu'
      ? `cpu (${threads} ${threads === 1 ? 'thread' : 'threads'}, ${native.info.isa})`
      : model.device;
  const kept = validation ? `, ${formatCount(sizes.validation)} for validation` : '';
  return [
    `${colorsFor(process.stderr).bold(config.type)} · ${formatCount(model.parameterCount)} parameters · ${device} · ${precision}`,
    ...(fallbackReason === undefined ? [] : [`running on the CPU because ${fallbackReason}`]),
    `data · ${formatCount(sizes.train)} training tokens${kept}${tokenizer ? ` · ${tokenizer.name} tokenizer` : ''}`,
  ].join('\n');
}

function summary(
  result: TrainResult | undefined,
  report: RunReport,
  { resumed, interrupted }: { readonly resumed: ResumeResult | undefined; readonly interrupted: boolean },
): string {
  const lines: [string, string][] = [];
  if (result && resumed?.step === result.step && !interrupted) {
    const isWhole = result.reason === 'maxSteps';
    lines.push(
      [
        isWhole ? 'complete' : 'stopped',
        isWhole
          ? `all ${result.step} steps are already done`
          : `early, already at step ${result.step}: the validation loss stopped improving`,
      ],
      [
        'to continue',
        isWhole ? 'raise maxSteps (--max-steps)' : 'raise earlyStopping.patience, or remove earlyStopping',
      ],
    );
  } else if (result) {
    const { step, tokens, seconds, evaluation } = result;
    lines.push(['trained', `${step} steps, ${formatCount(tokens)} tokens in ${formatDuration(seconds)}`]);
    if (evaluation) lines.push(['validation', `loss ${evaluation.loss.toFixed(4)} nats per token`]);
  }
  lines.push(['loss curve', shownPath(report.lossCurvePath)], ['metrics', shownPath(report.metricsPath)]);
  if (result?.checkpoint !== undefined) lines.push(['checkpoint', shownPath(result.checkpoint)]);
  return labelled(lines);
}

async function showSample(sampler: Sampler, config: SamplingConfig, interrupt: Interrupt): Promise<void> {
  if (config.maxNewTokens === 0) return;
  const { prompt, ...options } = config;
  print(`${colorsFor(process.stdout).dim('sample')}\n`);
  printText(prompt);
  for await (const { text } of sampler.stream(prompt, options)) {
    if (interrupt.requested) break;
    printText(text);
  }
  print('\n');
}
