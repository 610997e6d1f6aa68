import type { OpenSequencesOptions } from '../data/sequences/sequences';
import type { TokenDtype } from '../data/tokens/format';
import type { ModelConfig } from '../models/families';
import type { LrSchedulerType } from '../training/schedule_settings';
import type { TrainingArguments } from '../training/arguments';

/**
 * A run's configuration file, as `tesserae train` and other commands read it: plain JSON. Paths in it are relative to its
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
  /** The model; give either this or initFrom. vocabSize defaults to that of the data: 256 for text, which is read as bytes. */
  readonly model?: ModelConfig;
  /** The folder of a checkpoint to start from, tesserae's or Hugging Face's GPT-2: its model and weights. */
  readonly initFrom?: string;
  /** What to train on. Optional for commands that don't train, such as `plan` and `schedule`. */
  readonly data?: RunData;
  /** How to train. A schedule must be a name here, not a function. */
  readonly training?: Omit<TrainingArguments, 'lrScheduler'> & {
    /** The schedule of the learning rate after warmup. Default 'cosine'. */
    readonly lrScheduler?: LrSchedulerType;
  };
  /** The sample at the end of training. */
  readonly sampling?: RunSampling;
}

/** What a run trains on: exactly one of `text`, `tokens` and `sequences`, and settings that apply to some of them. */
export interface RunData extends Partial<
  Pick<OpenSequencesOptions, 'batching' | 'maxTokens' | 'truncation' | 'validationFraction'>
> {
  /** UTF-8 text files; several are joined. */
  readonly text?: string | readonly string[];
  /** The folder that `tesserae prepare` made, or token files; several are joined. */
  readonly tokens?: string | readonly string[];
  /** Files of JSON lines, one `Sequence` per line; several files are joined. */
  readonly sequences?: string | readonly string[];
  /** With `tokens`: token files to validate on. Default: the val.bin of a folder. */
  readonly validation?: string | readonly string[];
  /** With `tokens`: the type of ids in a file without header and JSON file. Default 'uint16'. */
  readonly dtype?: TokenDtype;
  /** With `tokens`: the tokenizer of files without a JSON file: `byte`, or the path of a tokenizer.json. */
  readonly tokenizer?: string;
  /** With `tokens`: whether to read files completely first and compare their SHA-256. Default false. */
  readonly verify?: boolean;
}

/** The sample at the end of a run. */
export interface RunSampling {
  /** Number of tokens to generate, 0 to 1,000,000; 0: no sample. Default 200. */
  readonly maxNewTokens?: number;
  /** 0 takes the most likely token; at most 100. Default 0.8. */
  readonly temperature?: number;
  /** An integer in [0, 2^53). Default 0. */
  readonly seed?: number;
  /** Text that the sample continues. Default a newline. */
  readonly prompt?: string;
}
