import type { OpenSequencesOptions } from '../data/sequences/sequences';
import type { TokenDtype } from '../data/tokens/format';
import type { ModelConfig } from '../models/families';
import type { LrSchedulerType } from '../training/schedule_settings';
import type { TrainingArguments } from '../training/arguments';

/**
 * A run's configuration file, which `tesserae train` and others read: plain JSON; paths in it are relative to its folder.
 * Its JSON Schema is `tesserae/schema.json`.
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
  /** The model; either this or initFrom. vocabSize defaults to that of the data: 256 for text, which is read as bytes. */
  readonly model?: ModelConfig;
  /** The folder of a checkpoint, of tesserae's or of Hugging Face's GPT-2, whose model and weights training starts from. */
  readonly initFrom?: string;
  /** What to train on; only `plan`, `schedule` and the like do without. */
  readonly data?: RunData;
  /** How to train; a schedule is named here, not a function. */
  readonly training?: Omit<TrainingArguments, 'lrScheduler'> & {
    /** How the rate falls after warmup. Default 'cosine'. */
    readonly lrScheduler?: LrSchedulerType;
  };
  /** The sample at the end of training. */
  readonly sampling?: RunSampling;
}

/** What a run trains on: one of `text`, `tokens` and `sequences`, and settings that only some of them have. */
export interface RunData extends Partial<
  Pick<OpenSequencesOptions, 'batching' | 'maxTokens' | 'truncation' | 'validationFraction'>
> {
  /** UTF-8 text files; several are joined. */
  readonly text?: string | readonly string[];
  /** The folder that `tesserae prepare` made, or token files; several are joined. */
  readonly tokens?: string | readonly string[];
  /** JSON lines, a `Sequence` a line; several files are joined. */
  readonly sequences?: string | readonly string[];
  /** With `tokens`: token files to validate on. Default: the val.bin of a folder. */
  readonly validation?: string | readonly string[];
  /** With `tokens`: how ids are stored in a file that nothing describes. Default 'uint16'. */
  readonly dtype?: TokenDtype;
  /** With `tokens`: what made the ids of files that nothing describes: `byte`, or the path of a tokenizer.json. */
  readonly tokenizer?: string;
  /** With `tokens`: whether files are read as a whole first, to compare their SHA-256. Default false. */
  readonly verify?: boolean;
}

/** The sample at the end of a run. */
export interface RunSampling {
  /** Tokens to sample, 0 to 1,000,000; 0: no sample. Default 200. */
  readonly maxNewTokens?: number;
  /** 0 takes the most probable token; at most 100. Default 0.8. */
  readonly temperature?: number;
  /** An integer in [0, 2^53). Default 0. */
  readonly seed?: number;
  /** Text that the sample continues. Default a newline. */
  readonly prompt?: string;
}
