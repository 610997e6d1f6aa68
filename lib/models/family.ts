import type { z } from 'zod';
import type { Graph } from '../graph/graph';

/** The properties of a model that reads token ids, for tokenizers, token data and samplers. */
export interface TokenSettings {
  /** Token ids are in [0, vocabSize). */
  readonly vocabSize: number;
  /** The longest sequence, in tokens. */
  readonly nPositions: number;
  /** Token that starts a text, or null. */
  readonly bosTokenId: number | null;
  /** Token or tokens that end a text, or null. */
  readonly eosTokenId: number | readonly number[] | null;
  /** Whether each position has a given target instead of the next token. */
  readonly isEncoder: boolean;
  /** Whether a position sees only itself and earlier ones. */
  readonly isCausal: boolean;
  /** Number of token types (input `types`); 0: the model has no such input. */
  readonly nTypes: number;
  /** Number of token subtypes (input `subtypes`); 0: the model has no such input. */
  readonly nStypes: number;
  /** A target with this value has no loss and no gradient. */
  readonly ignoreIndex: number;
}

/** How the configurations of a family are stored in a checkpoint's config.json. */
export interface ConfigForm<Config> {
  /** Each `model_type` that is read as this family. */
  readonly modelTypes: readonly string[];
  /** The file's keys; settings that Hugging Face lacks are under `tesserae.model`. */
  write(config: Config): Record<string, unknown> & { readonly tesserae: { readonly model: object } };
  /** @throws TesseraeError `ERR_CONFIG` for a file that asks for something else. */
  read(json: unknown): Config;
  /** The setting that Hugging Face can't compute, such as `positions none`; undefined if it can compute the model. */
  whatIsOwn(config: Config): string | undefined;
}

/**
 * A model family: everything that the library needs to know about it. `Options` are its settings as you write them, `Config`
 * the same with every default filled in.
 */
export interface Family<Options, Config> {
  /** Strict schema of its settings without `type`; validates configuration files and is part of the JSON Schema. */
  readonly schema: z.ZodObject;
  /**
   * Checks the settings and fills in every default.
   *
   * @param at - path of the settings in a larger configuration, for messages.
   * @throws TesseraeError `ERR_CONFIG` with `details.path`.
   */
  resolve(options: Options, at: string): Config;
  /** Builds the Graph of a model. */
  graph(config: Config): Graph;
  /** The most positions of a row along each length axis of the Graph. */
  lengthLimits(config: Config): Readonly<Record<string, number>>;
  /**
   * Token settings of a family that reads token ids from an input `tokens`. Default: it reads none. It then can't be sampled or
   * trained on text, token files or sequences, but on any dataset whose batches have an array for each of its inputs.
   */
  tokens?(config: Config): TokenSettings;
  /**
   * For a family that Hugging Face has too. Default: `model_type` is `tesserae_<type>`, so that nothing loads the model as
   * something else, and all settings are under `tesserae.model`.
   */
  readonly configForm?: ConfigForm<Config>;
}
