/** The types that scripts/declare_settings.mjs writes are those of their schemas, in both directions. */
import { expectTypeOf } from 'expect-type';
import type { z } from 'zod';
import type {
  EarlyStoppingOptions,
  GenerateOptions,
  GPT2Config,
  GPT2Options,
  LossScaling,
  LrScheduleFunction,
  LrSchedulerKwargs,
  OptimizerArguments,
  ParameterGroup,
  RunConfiguration,
  RunData,
  RunSampling,
  TokenTypes,
  TrainingArguments,
} from '../../lib';
import type { dataSchema, runSchema, samplingSchema } from '../../lib/cli/run_configuration';
import type { gpt2ConfigSchema, gpt2Schema } from '../../lib/models/gpt2_config';
import type { generateOptionsSchema } from '../../lib/sampling/options';
import type { trainingArgumentsSchema } from '../../lib/training/arguments';
import type { earlyStoppingSchema } from '../../lib/training/early_stopping';
import type { lossScalingSchema } from '../../lib/training/loss_scaling';
import type { optimizerArgumentsSchema } from '../../lib/training/optimizer_settings';
import type { parameterGroupSchema } from '../../lib/training/parameter_groups';
import type { lrSchedulerKwargsSchema } from '../../lib/training/schedule_settings';

/** The type that zod infers in declared form: readonly, and absent fields are left out. */
type Declared<T> = T extends
  ((...args: never[]) => unknown) | ReadonlyMap<unknown, unknown> | AbortSignal | TokenTypes
  ? T
  : T extends readonly (infer Element)[]
    ? readonly Declared<Element>[]
    : T extends object
      ? { readonly [Key in keyof T]: Declared<Exclude<T[Key], undefined>> }
      : T;
type Given<Schema extends z.ZodType> = Declared<z.input<Schema>>;

export function settingsOfModelsAreThoseOfTheirSchemas(): void {
  expectTypeOf<GPT2Options>().toEqualTypeOf<Given<typeof gpt2Schema>>();
  expectTypeOf<GPT2Config>().toEqualTypeOf<Declared<z.output<typeof gpt2ConfigSchema>>>();
}

export function optionsOfSamplingAreThoseOfTheirSchema(): void {
  expectTypeOf<GenerateOptions>().toEqualTypeOf<Given<typeof generateOptionsSchema>>();
}

export function settingsOfTrainingAreThoseOfTheirSchemas(): void {
  expectTypeOf<LossScaling>().toEqualTypeOf<Given<typeof lossScalingSchema>>();
  expectTypeOf<EarlyStoppingOptions>().toEqualTypeOf<Given<typeof earlyStoppingSchema>>();
  expectTypeOf<ParameterGroup>().toEqualTypeOf<Given<typeof parameterGroupSchema>>();
  expectTypeOf<LrSchedulerKwargs>().toEqualTypeOf<Given<typeof lrSchedulerKwargsSchema>>();
  expectTypeOf<OptimizerArguments>().toEqualTypeOf<Given<typeof optimizerArgumentsSchema>>();
  type Arguments = Given<typeof trainingArgumentsSchema>;
  expectTypeOf<Omit<TrainingArguments, 'lrScheduler'>>().toEqualTypeOf<Omit<Arguments, 'lrScheduler'>>();
  // A custom schedule is not in the schema, which describes JSON.
  expectTypeOf<Exclude<TrainingArguments['lrScheduler'], LrScheduleFunction>>().toEqualTypeOf<
    Arguments['lrScheduler']
  >();
}

export function aRunsConfigurationIsThatOfItsSchema(): void {
  expectTypeOf<RunData>().toEqualTypeOf<Given<typeof dataSchema>>();
  expectTypeOf<RunSampling>().toEqualTypeOf<Given<typeof samplingSchema>>();
  // Declared makes one type of the parts of a model's and of the arguments'.
  expectTypeOf<Declared<RunConfiguration>>().toEqualTypeOf<Given<typeof runSchema>>();
}
