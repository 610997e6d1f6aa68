// Generated from the schemas of run_configuration.ts by 'npm run settings': change them instead.

import type { Batching } from '../data/sequences/source';
import type { TokenDtype } from '../data/tokens/format';
import type { ModelConfig } from '../models/families';
import type { Padding } from '../native';
import type { TrainingArguments } from '../training/arguments.generated';
import type { LrSchedulerType } from '../training/schedule_settings.generated';

/** What a run trains on: one of `text`, `tokens` and `sequences`, and settings that only some of them have. */
export interface RunData {
  /** UTF-8 text files; several are joined. */
  readonly text?: string | readonly string[];
  /** The folder that `tesserae prepare` made, or token files; several are joined. */
  readonly tokens?: string | readonly string[];
  /** JSONL files of {"tokens": [1, 2, 3]}, a `Sequence` a line; several are joined. */
  readonly sequences?: string | readonly string[];
  /**
   * With `sequences`: `pad`, one of them a row; `pack`, as many as fit a row, none of which sees another; `bucket`,
   * rows of similar lengths, as many as maxTokens allows, whatever batchSize says. Default 'pad'.
   */
  readonly batching?: Batching;
  /** For `bucket`, and needed there: positions of a micro-batch at most, padding included. An integer of at least 1. */
  readonly maxTokens?: number;
  /**
   * With `sequences`: whether one of more than nPositions tokens is cut to its first ones. Default false: it is an
   * error.
   */
  readonly truncation?: boolean;
  /** With `tokens`: token files to validate on. Default: the val.bin of a folder. */
  readonly validation?: string | readonly string[];
  /**
   * Share of the text, tokens or sequences, from the end, that is kept for validation. A number from 0 to 0.9. Default
   * 0.1; a folder of token files has its own.
   */
  readonly validationFraction?: number;
  /** With `tokens`: how ids are stored in a file that nothing describes. Default 'uint16'. */
  readonly dtype?: TokenDtype;
  /** With `tokens`: what made the ids of files that nothing describes: `byte`, or the path of a tokenizer.json. */
  readonly tokenizer?: string;
  /** With `tokens`: whether files are read as a whole first, to compare their SHA-256. Default false. */
  readonly verify?: boolean;
}

/**
 * A run's configuration file, which `tesserae train` and others read: plain JSON; paths in it are relative to its
 * folder. Its JSON Schema is `tesserae/schema.json`.
 *
 * @example
 * const run: RunConfiguration = {
 *   model: { type: 'gpt2', nPositions: 128, nEmbd: 128, nLayer: 4, nHead: 4 },
 *   data: { text: 'book.txt' },
 *   training: { maxSteps: 1000 },
 * };
 * await writeFile('config.json', JSON.stringify(run));
 */
export interface RunConfiguration {
  /** Where editors find the JSON Schema. */
  readonly $schema?: string;
  /**
   * The model; either this or initFrom. vocabSize defaults to that of the data: 256 for text, which is read as bytes.
   */
  readonly model?: ModelConfig;
  /**
   * The folder of a checkpoint, of tesserae's or of Hugging Face's GPT-2, whose model and weights training starts from.
   */
  readonly initFrom?: string;
  /** What to train on; only `plan`, `schedule` and the like do without. */
  readonly data?: RunData;
  /** How to train; a schedule is named here, not a function. */
  readonly training?: Omit<TrainingArguments, 'lrScheduler'> & {
    /** How the rate falls after warmup, by name. Default 'cosine'. */
    readonly lrScheduler?: LrSchedulerType;
  };
  /**
   * How axes are padded in memory: `default`, the same on every chip: vocabulary to multiples of 64, widths and heads
   * to 8; or `chip`, which pads widths to whole cache lines of the chip: 64 for 16-bit precisions, 32 for fp32 and TF32
   * on a GPU, 16 on the CPU. Results are the same up to rounding, and files don't depend on it. Default 'default'.
   */
  readonly padding?: Padding;
  /** The sample at the end of a run. */
  readonly sampling?: RunSampling;
}

/** The sample at the end of a run. */
export interface RunSampling {
  /** Tokens to sample; 0: no sample. An integer from 0 to 1,000,000. Default 200. */
  readonly maxNewTokens?: number;
  /**
   * Divides logits: below 1 makes likelier tokens more likely; 0: always the likeliest token. A number from 0 to 100.
   * Default 0.8.
   */
  readonly temperature?: number;
  /** The same seed gives the same text. An integer of at least 0. Default 0. */
  readonly seed?: number;
  /** Text that the sample continues. Default '\n'. */
  readonly prompt?: string;
}
