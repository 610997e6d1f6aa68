/** tesserae: trains Transformers from TypeScript. */
export { TesseraeError, type ErrorCode } from './errors';
export type {
  Attribute,
  AxisSpec,
  FactorRole,
  FactorSpec,
  Graph,
  IdsInput,
  Initializer,
  InputSpec,
  LengthsInput,
  LossSpec,
  NodeSpec,
  ParameterSpec,
  PositionsInput,
  StartsInput,
  ValuesInput,
} from './graph/graph';
export type { KernelSource, MatrixProduct, Padding, Precision, ProductPiece } from './native';
export type { Device, RankDevice } from './models/device';
export type { ModelConfig, ResolvedModelConfig } from './models/families';
export type { GPT2Config, GPT2Options } from './models/gpt2_config';
export type {
  Capacity,
  ExtraInputs,
  StepBatch,
  TokenRows,
  TokenValues,
  TrainingBatch,
} from './models/inputs';
export { Model, type FloatTensor, type ModelOptions } from './models/model';
export type { ExampleBatch, ExampleRows } from './models/example_rows';
export type { InputArray, PackedBatch } from './models/packed_batch';
export { ByteTokenizer } from './data/byte_tokenizer';
export type {
  BatchRequest,
  Dataset,
  DatasetBatch,
  DatasetExamples,
  DatasetRows,
  IdRanges,
  SequenceStarts,
} from './data/dataset';
export type { SequenceOptions } from './data/sequences/options';
export type { Sequence } from './data/sequences/sequence';
export { openSequences, type OpenSequencesOptions, type SequenceData } from './data/sequences/sequences';
export type { Batching, PartSize, SequenceSizes } from './data/sequences/source';
export {
  streamSequences,
  type SequenceStream,
  type StreamData,
  type StreamSequencesOptions,
} from './data/sequences/stream';
export { JsonTokenizer, type JsonTokenizerOptions } from './data/json_tokenizer';
export { openText, type OpenTextOptions, type TextData } from './data/text';
export type { TextSizes } from './data/rows';
export type { TokenDecoder, Tokenizer, TokenizerFiles, TokenRoles } from './data/tokenizer';
export { openTokens, type OpenTokensOptions } from './data/tokens';
export type { TokenDtype } from './data/tokens/format';
export type { TokenData } from './data/worker_dataset';
export {
  findCheckpoint,
  loadModel,
  saveModel,
  type LoadedModel,
  type LoadOptions,
  type SaveOptions,
} from './checkpoint/checkpoint';
export { listCheckpoints, type CheckpointInfo } from './checkpoint/run_folder';
export type { StoredDtype } from './checkpoint/floats';
export { averageCheckpoints, type AveragedCheckpoints } from './checkpoint/averaging';
export type { GenerateOptions, MaskedSequence, TokenTypes } from './sampling/options';
export { Sampler, type Generation, type Prompt, type SamplerOptions } from './sampling/sampler';
export type { FinishReason, GeneratedToken, TokenLogprob } from './sampling/sequence';
export { lossCurveSvg, lossCurveTerminal, type LossPoint, type TerminalOptions } from './report/loss_curve';
export { MetricsFile, type MetricsRecord } from './report/metrics_file';
export type { Plan, PlannedCall, PlannedProduct, PlannedTensor } from './report/plan_table';
export type { ProgressState } from './report/progress';
export { RunReport, type ReportedEvent, type RunReportOptions } from './report/run_report';
export { scheduleSvg, type PlottedSchedule, type ScheduleSvgOptions } from './report/schedule_plot';
export {
  scheduleOf,
  type LabelSmoothingType,
  type ResolvedTrainingArguments,
  type Schedule,
  type TrainingArguments,
} from './training/arguments';
export {
  earlyStopping,
  type BestEvaluation,
  type EarlyStopping,
  type EarlyStoppingOptions,
} from './training/early_stopping';
export type {
  CallbackResult,
  EndEvent,
  EvaluateEvent,
  EvaluationResult,
  SaveEvent,
  StepEvent,
  StepMetrics,
  TrainerCallback,
  TrainerEvent,
  TrainResult,
  WarningEvent,
} from './training/events';
export type { LossScaling } from './training/loss_scaling';
export { readMetrics, type MetricsLine } from './training/metrics';
export type { OptimizerArguments, OptimizerType, RAdamFirstSteps } from './training/optimizer_settings';
export type { ParameterGroup } from './training/parameter_groups';
export type { LrScheduleFunction, LrSchedulerKwargs, LrSchedulerType } from './training/schedule_settings';
export { planTraining, type PlanOptions } from './training/planning';
export type { SchedulePhase } from './training/schedules';
export type { ResumeResult } from './training/resume';
export { Trainer } from './training/trainer';
export {
  tune,
  type KernelTime,
  type TunedKernel,
  type TuneOptions,
  type TuneResult,
} from './training/tuning';
export type { TrainerOptions } from './training/trainer_options';
export type { Finding as DoctorFinding } from './cli/finding';
export type { RunConfiguration, RunData, RunSampling } from './cli/run_configuration';
