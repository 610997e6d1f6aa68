import path from 'node:path';
import type { Dataset } from '../data/dataset';
import { TesseraeError } from '../errors';
import { lossesOf, targetsOf } from '../graph/losses';
import type { Model } from '../models/model';
import { devices, plan as planGraph } from '../native';
import { writeTextFile } from '../files/regular_file';
import { makeFolder } from '../report/make_folder';
import type { Plan } from '../report/plan_table';
import { makeProfile, type OperationTiming, type Profile } from '../report/profile';
import { profileSvg } from '../report/profile_svg';
import { profileText } from '../report/profile_text';
import type { TrainingArguments } from '../training/arguments';
import { BatchQueue } from '../training/batch_queue';
import { packAlike } from '../training/optimization';
import { planSettings } from '../training/planning';
import { Trainer } from '../training/trainer';
import { print, printJson, shownPath } from './terminal';

const WARM_UP_STEPS = 5;
/** The measurement ends after this many steps, or with the first report after this many seconds. */
const MEASURED_STEPS = 20;
const MEASURED_SECONDS = 10;
/** Most steps between reports: between reports, the next step starts before the previous one has ended. */
const MOST_LOGGING_STEPS = 10;
/** Steps to run operation by operation; each call's time is their median. */
const PROFILED_STEPS = 5;

/** `tesserae train --profile`: prints where the time of a training step goes, and draws profile.svg. */
export async function profile(
  model: Model,
  train: Dataset,
  run: { readonly training: TrainingArguments & { readonly outputDir: string }; readonly json: boolean },
): Promise<void> {
  const { outputDir, ...args } = run.training;
  const measured = await profileTraining(model, train, args);
  await makeFolder(outputDir);
  const picture = path.join(outputDir, 'profile.svg');
  const title = `${path.basename(outputDir)}: a training step on ${measured.device}, ${measured.precision}`;
  await writeTextFile(picture, profileSvg(measured, { title }));
  if (run.json) printJson(measured, 2);
  else print(`\n${profileText(measured)}\npicture                ${shownPath(picture)}\n`);
}

/**
 * Measures training steps on the dataset, first as in training, then operation by operation. This trains the model.
 *
 * @param args - how to train; nothing is evaluated or saved.
 */
export async function profileTraining(
  model: Model,
  train: Dataset,
  args: Omit<TrainingArguments, 'outputDir'>,
): Promise<Profile> {
  const loggingSteps = Math.min(args.loggingSteps ?? MOST_LOGGING_STEPS, MOST_LOGGING_STEPS);
  const maxSteps = Math.max(args.maxSteps, WARM_UP_STEPS + MEASURED_STEPS + 2 * loggingSteps);
  const trainer = new Trainer(model, { arguments: { ...args, maxSteps, loggingSteps }, train });
  const stepSeconds = await secondsOfStep(trainer);

  const { batchSize: rows, gradientAccumulationSteps, seed } = trainer.arguments;
  const step = trainer.globalStep;
  const queue = new BatchQueue(train, {
    seed,
    rows,
    microSteps: gradientAccumulationSteps,
    maxSteps: step + 1,
  });
  const batches = await queue.take(step);
  const capacity = batches[0]?.capacity ?? { rows, lengths: { time: train.blockSize } };
  const shape = { rows: capacity.rows, lengths: capacity.lengths };
  const packed = packAlike(model, batches, capacity);
  const inputs = packed.map((batch) => batch.inputs);
  const [loss] = lossesOf(model.graph);
  const targets = loss && targetsOf(model.graph, loss);
  const runs: (readonly OperationTiming[])[] = [];
  const started = performance.now();
  while (runs.length < PROFILED_STEPS && (runs.length === 0 || secondsSince(started) < MEASURED_SECONDS))
    runs.push((await model.native.profileStep(packed[0]?.capacity ?? capacity, inputs)).timings);

  const device = (await devices()).find(({ name }) => name === model.device);
  const { precision, padding } = model;
  const settings = planSettings(trainer.arguments, model.graph);
  const request = { ...shape, gradientAccumulationSteps, precision, padding, ...settings };
  return makeProfile({
    device: model.device,
    deviceDescription: device?.description ?? '',
    ...shape,
    gradientAccumulationSteps,
    precision,
    stepSeconds,
    targets: inputs.reduce((sum, batch) => sum + (batch[targets ?? '']?.length ?? 0), 0),
    runs,
    ...(device?.chip === undefined
      ? {}
      : { plan: planGraph(model.graph, { ...request, chip: device.chip }) as Plan }),
  });
}

/** Mean time of consecutive steps, after a warm-up. */
async function secondsOfStep(trainer: Trainer): Promise<number> {
  let start: { readonly step: number; readonly at: number } | undefined;
  for await (const event of trainer) {
    if (event.type !== 'step' || event.step < WARM_UP_STEPS) continue;
    start ??= { step: event.step, at: performance.now() };
    const steps = event.step - start.step;
    const seconds = secondsSince(start.at);
    if (steps > 0 && (steps >= MEASURED_STEPS || seconds >= MEASURED_SECONDS)) return seconds / steps;
  }
  throw new TesseraeError('ERR_INTERNAL', 'training ended before its steps were measured');
}

const secondsSince = (start: number): number => (performance.now() - start) / 1000;
