import { expectTypeOf } from 'expect-type';
import type { z } from 'zod';
import type { eventSchema } from '../../lib/training/metrics';
import {
  earlyStopping,
  openText,
  planTraining,
  readMetrics,
  Trainer,
  type CheckpointInfo,
  type Dataset,
  type EndEvent,
  type EvaluateEvent,
  type EvaluationResult,
  type MetricsLine,
  type Model,
  type Plan,
  type ResolvedTrainingArguments,
  type RunConfiguration,
  type SaveEvent,
  type StepEvent,
  type StepMetrics,
  type TrainerEvent,
  type TrainingArguments,
  type TrainResult,
  type WarningEvent,
} from '../../lib';

export async function eventsAreToldApartByTheirType(trainer: Trainer): Promise<void> {
  for await (const event of trainer) {
    expectTypeOf(event).toEqualTypeOf<TrainerEvent>();
    expectTypeOf(event.type).toEqualTypeOf<'step' | 'evaluate' | 'save' | 'warning' | 'end'>();
    switch (event.type) {
      case 'step':
        expectTypeOf(event.tokensPerSecond).toEqualTypeOf<number>();
        expectTypeOf(event.lossScale).toEqualTypeOf<number | undefined>();
        break;
      case 'evaluate':
        expectTypeOf(event).toExtend<EvaluationResult>();
        break;
      case 'save':
        expectTypeOf(event.path).toEqualTypeOf<string>();
        // @ts-expect-error a save has no loss
        console.log(event.loss);
        break;
      case 'warning':
        expectTypeOf(event.message).toEqualTypeOf<string>();
        break;
      case 'end':
        expectTypeOf(event).toExtend<TrainResult>();
        break;
      default:
        expectTypeOf(event).toBeNever();
    }
    // @ts-expect-error only some events have a loss
    console.log(event.loss);
  }
}

/** The results of a run or a call are readonly, and so are its arguments. */
export function resultsAreReadonly(): void {
  expectTypeOf<StepEvent>().toEqualTypeOf<Readonly<StepEvent>>();
  expectTypeOf<EvaluateEvent>().toEqualTypeOf<Readonly<EvaluateEvent>>();
  expectTypeOf<SaveEvent>().toEqualTypeOf<Readonly<SaveEvent>>();
  expectTypeOf<WarningEvent>().toEqualTypeOf<Readonly<WarningEvent>>();
  expectTypeOf<EndEvent>().toEqualTypeOf<Readonly<EndEvent>>();
  expectTypeOf<StepMetrics>().toEqualTypeOf<Readonly<StepMetrics>>();
  expectTypeOf<Plan>().toEqualTypeOf<Readonly<Plan>>();
  expectTypeOf<CheckpointInfo>().toEqualTypeOf<Readonly<CheckpointInfo>>();
  expectTypeOf<TrainingArguments>().toEqualTypeOf<Readonly<TrainingArguments>>();
  expectTypeOf<RunConfiguration>().toEqualTypeOf<Readonly<RunConfiguration>>();
}

export async function aTrainerTakesTypedArguments(model: Model, train: Dataset): Promise<void> {
  const trainer = new Trainer(model, {
    arguments: { maxSteps: 10, lrScheduler: (step) => 1e-3 / (step + 1), reportTo: ['tensorboard'] },
    train,
    evaluation: undefined,
    callbacks: [earlyStopping(), () => undefined, ({ step }) => ({ stop: step > 5 }), async () => undefined],
  });
  expectTypeOf(trainer.train({ signal: AbortSignal.timeout(1) })).toEqualTypeOf<Promise<TrainResult>>();
  expectTypeOf(trainer.step({ tokens: [[1, 2, 3]] })).resolves.toEqualTypeOf<StepMetrics>();
  expectTypeOf(trainer.arguments).toEqualTypeOf<ResolvedTrainingArguments>();
  expectTypeOf(trainer.arguments.batchSize).toEqualTypeOf<number>();
  expectTypeOf<TrainingArguments['maxSteps']>().toEqualTypeOf<number>();

  // @ts-expect-error maxSteps is needed
  new Trainer(model, { arguments: {} });
  // @ts-expect-error another library's name of learningRate
  new Trainer(model, { arguments: { maxSteps: 1, lr: 1e-3 } });
  // @ts-expect-error no such schedule
  new Trainer(model, { arguments: { maxSteps: 1, lrScheduler: 'step' } });
  // @ts-expect-error a callback ends a run with { stop: true }
  new Trainer(model, { arguments: { maxSteps: 1 }, callbacks: [() => ({ end: true })] });
  // @ts-expect-error arguments are changed by a new trainer
  trainer.arguments.learningRate = 1;
}

export async function dataAreDisposedWithTheirScope(): Promise<void> {
  await using data = await openText('book.txt', { blockSize: 128 });
  expectTypeOf(data.train).toEqualTypeOf<Dataset>();
  expectTypeOf(data.validation).toEqualTypeOf<Dataset | undefined>();
  // @ts-expect-error the length of rows is needed
  await openText('book.txt', {});
}

export async function linesOfMetricsAreEventsInSnakeCase(): Promise<void> {
  expectTypeOf(readMetrics('metrics.jsonl')).resolves.toEqualTypeOf<MetricsLine[]>();
  type Step = Extract<MetricsLine, { type: 'step' }>;
  expectTypeOf<Step['grad_norm']>().toEqualTypeOf<number | null>();
  expectTypeOf<Step['step']>().toEqualTypeOf<number>();
  expectTypeOf<Step['loss_scale']>().toEqualTypeOf<number | undefined>();
  expectTypeOf<Step>().not.toHaveProperty('gradNorm');
  expectTypeOf<Extract<MetricsLine, { type: 'end' }>['reason']>().toEqualTypeOf<'maxSteps' | 'stopped'>();
  expectTypeOf<Extract<MetricsLine, { type: 'end' }>>().not.toHaveProperty('evaluation');
  for (const line of await readMetrics('metrics.jsonl'))
    if (line.type === 'save') expectTypeOf(line.path).toEqualTypeOf<string>();
}

/** The JSON Schema of events is made of eventSchema. */
export function theSchemaOfEventsHasTheirKeys(): void {
  type Event = z.output<typeof eventSchema>;
  type KeysOf<All extends { type: string }> = {
    [Type in All['type']]: keyof Extract<All, { type: Type }>;
  };
  expectTypeOf<KeysOf<Exclude<Event, { type: 'resume' }>>>().toEqualTypeOf<KeysOf<TrainerEvent>>();
  expectTypeOf<TrainerEvent>().toExtend<Event>();
  type Nullable<Line> = { [Key in keyof Line]-?: null extends Line[Key] ? Key : never }[keyof Line];
  type Step = Extract<Event, { type: 'step' }>;
  expectTypeOf<Nullable<Step>>().toEqualTypeOf<'loss' | 'gradNorm' | 'tokensPerSecond' | 'etaSeconds'>();
  expectTypeOf<Nullable<Extract<MetricsLine, { type: 'step' }>>>().toEqualTypeOf<
    'loss' | 'grad_norm' | 'tokens_per_second' | 'eta_seconds'
  >();
}

export function aPlanIsTyped(): void {
  expectTypeOf(planTraining({ type: 'gpt2' }, { chip: 'h100' })).toEqualTypeOf<Plan>();
  expectTypeOf<Plan['calls'][number]['bound']>().toEqualTypeOf<'compute' | 'memory'>();
  // @ts-expect-error training arguments are under `arguments`
  planTraining({ type: 'gpt2' }, { batchSize: 4 });
}
