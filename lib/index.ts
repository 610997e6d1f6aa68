/** tesserae: trains Transformers from TypeScript. */
export { TesseraeError, type ErrorCode } from './errors';
export type { Graph } from './graph/graph';
export type { Precision } from './native';
export type { Device } from './models/device';
export type { ModelConfig, ResolvedModelConfig } from './models/families';
export type { GPT2Config, GPT2Options } from './models/gpt2_config';
export type { ExtraInputs, TokenRows, TrainingBatch } from './models/inputs';
export { Model, type FloatTensor, type ModelOptions } from './models/model';
export { ByteTokenizer } from './data/byte_tokenizer';
export type { BatchRequest, Dataset } from './data/dataset';
export { openText, type OpenTextOptions, type TextData } from './data/text';
export type { TextSizes } from './data/text_source';
export type { TokenDecoder, Tokenizer } from './data/tokenizer';
export {
  findCheckpoint,
  loadModel,
  saveModel,
  type LoadedModel,
  type SaveOptions,
} from './checkpoint/checkpoint';
export type { GenerateOptions, MaskedSequence, TokenTypes } from './sampling/options';
export { Sampler, type Generation, type Prompt, type SamplerOptions } from './sampling/sampler';
export type { FinishReason, GeneratedToken, TokenLogprob } from './sampling/sequence';
export { lossCurveSvg, lossCurveTerminal, type LossPoint, type TerminalOptions } from './report/loss_curve';
export { MetricsFile, type MetricsRecord } from './report/metrics_file';
export { RunReport, type ReportedEvent, type RunReportOptions } from './report/run_report';
export { scheduleSvg, type PlottedSchedule, type ScheduleSvgOptions } from './report/schedule_plot';
export {
  scheduleOf,
  type LossScaling,
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
  EndEvent,
  EvaluateEvent,
  EvaluationResult,
  SaveEvent,
  StepEvent,
  StepMetrics,
  TrainerCallback,
  TrainerEvent,
  TrainResult,
} from './training/events';
export type { LrScheduleFunction, LrSchedulerKwargs, LrSchedulerType } from './training/schedule_settings';
export type { SchedulePhase } from './training/schedules';
export type { ResumeResult } from './training/resume';
export { Trainer, type TrainerOptions } from './training/trainer';
