/** Sampling in native memory, behind `NativeModel.createSession`; part of lib/native.ts, which alone has the addon. */
import { TesseraeError } from './errors';

/** How a row's tokens are chosen; values that change nothing are 0, but for topP and repetitionPenalty: 1. */
export interface SamplingSettings {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly noRepeatNgramSize: number;
  readonly minNewTokens: number;
  /** New tokens, those drawn before the session included. */
  readonly maxNewTokens: number;
}

/** In the order of `Setting` in native/ops/sampling.h. */
const SETTINGS: readonly (keyof SamplingSettings)[] = [
  'temperature',
  'topK',
  'topP',
  'minP',
  'repetitionPenalty',
  'frequencyPenalty',
  'presencePenalty',
  'noRepeatNgramSize',
  'minNewTokens',
  'maxNewTokens',
];

/** What a session does besides drawing; each feature costs time and memory. */
export interface SamplingFeatures {
  /** Ids that `arrays.known` gives −∞ are not tokens: log-probabilities are over the others alone. */
  readonly known?: boolean;
  readonly bias?: boolean;
  readonly mask?: boolean;
  /** The number of sets of allowed tokens that there is room for. */
  readonly sets?: number;
  readonly minimum?: boolean;
  readonly penalties?: boolean;
  readonly ngrams?: boolean;
  readonly filter?: boolean;
  /** Scores start from log-probabilities, and the reported ones are the scores; `redirect` decides which token a row gets. */
  readonly beams?: boolean;
  /** Log-probabilities of each chosen token and of this many of the likeliest; −1: none. */
  readonly logProbs?: number;
}

export interface SessionOptions {
  readonly rows: number;
  /** Positions that a row may have. */
  readonly cache: number;
  readonly seeds: readonly number[];
  /** The index of each row among its seed's sequences, which all have their own random numbers. Default: the first. */
  readonly sequences?: readonly number[];
  /** Tokens that each row has drawn before. Default: none. */
  readonly drawn?: readonly number[];
  /** Of each row. */
  readonly settings: readonly SamplingSettings[];
  readonly endTokens?: readonly number[];
  readonly stopTokens?: readonly number[];
  readonly features?: SamplingFeatures;
  readonly arrays?: {
    /** 0 for each token and −∞ for ids without one (vocabSize); features.known. */
    readonly known?: Float32Array;
    /** Added to each logit (vocabSize); features.bias. */
    readonly bias?: Float32Array;
    /** Tokens before the prompts, row after row, and how many each row has; for penalties. */
    readonly past?: Int32Array;
    readonly pastLengths?: Int32Array;
    /** Sets of ⌈vocabSize / 32⌉ words, and the set for each position of a row (rows × (cache + 1); −1: all tokens). */
    readonly sets?: Int32Array;
    readonly setAt?: Int32Array;
    /**
     * For a model with types: the type of each token id (vocabSize), and by row and position (rows × cache; −1: the id's type).
     */
    readonly typesOf?: Int32Array;
    readonly typesAt?: Int32Array;
    readonly subtypesOf?: Int32Array;
    readonly subtypesAt?: Int32Array;
  };
}

/** Why a row has ended: `Finish` in native/ops/sampling.h. */
export const FINISH = ['running', 'end', 'stop', 'length', 'full', 'none'] as const;
export type Finish = (typeof FINISH)[number];

/** What choosing tokens found. */
export interface Visit {
  readonly steps: number;
  /** (steps × rows); −1 where a row had finished. */
  readonly tokens: Int32Array;
  /** Of each row, after the visit. */
  readonly finished: readonly Finish[];
  /** With features.logProbs: of each token (steps × rows), and of the likeliest k (steps × rows × k). */
  readonly logProbs: Float32Array;
  readonly topTokens: Int32Array;
  readonly topLogProbs: Float32Array;
}

/** Tokens that one visit may choose. */
export const MOST_VISIT = 64;

/** The addon's functions for a session. */
export interface SessionCalls {
  prefill(session: object, inputs: object, lengths: Int32Array): Promise<void>;
  forward(session: object): Promise<void>;
  decode(session: object, steps: number, mask: Int32Array, into: object): Promise<void>;
  redirect(session: object, parents: Int32Array, tokens: Int32Array): Promise<void>;
  disposeSession(session: object): void;
}

/** Sequences that are being sampled: their cache and what choosing their tokens needs. */
export class NativeSession {
  private readonly rows: number;
  private readonly likeliest: number;

  /** @internal */
  constructor(
    private handle: object | undefined,
    options: SessionOptions,
    private readonly async: <T>(call: (native: SessionCalls) => Promise<T>) => Promise<T>,
    private readonly sync: <T>(call: (native: SessionCalls) => T) => T,
  ) {
    this.rows = options.rows;
    this.likeliest = options.features?.logProbs ?? -1;
  }

  /** Settings as native code reads them. */
  static settings(settings: SamplingSettings): number[] {
    return SETTINGS.map((name) => settings[name]);
  }

  /**
   * Reads prompts (rows × the longest length, row-major, any id beyond a row's length). A prompt may come in pieces.
   *
   * @param types - types and subtypes, in the form of the tokens, for a model that has them.
   */
  async prefill(
    tokens: Int32Array,
    lengths: Int32Array,
    types: Readonly<Record<string, Int32Array>> = {},
  ): Promise<void> {
    await this.async((native) => native.prefill(this.open(), { tokens, ...types }, lengths));
  }

  /** Starts the model on the tokens chosen last, so that the next `decode` need not wait for the logits. */
  async forward(): Promise<void> {
    await this.async((native) => native.forward(this.open()));
  }

  /**
   * Chooses the next `steps` tokens of each row, at most MOST_VISIT.
   *
   * @param mask - allowed tokens of the one token to come (rows × ⌈vocabSize / 32⌉), with features.mask.
   */
  async decode(steps: number, mask?: Uint32Array): Promise<Visit> {
    const count = steps * this.rows;
    const k = Math.max(0, this.likeliest);
    const into = {
      tokens: new Int32Array(count),
      finished: new Int32Array(this.rows),
      logProbs: new Float32Array(this.likeliest < 0 ? 0 : count),
      topTokens: new Int32Array(count * k),
      topLogProbs: new Float32Array(count * k),
    };
    const words = mask ? new Int32Array(mask.buffer, mask.byteOffset, mask.length) : new Int32Array(0);
    await this.async((native) => native.decode(this.open(), steps, words, into));
    return { ...into, steps, finished: Array.from(into.finished, (code) => FINISH[code] ?? 'full') };
  }

  /**
   * Continues rows as copies of others: row i from row parents[i], which must have as many positions, with tokens[i] in place
   * of the token chosen last. A row that had ended runs again.
   */
  async redirect(parents: Int32Array, tokens: Int32Array): Promise<void> {
    await this.async((native) => native.redirect(this.open(), parents, tokens));
  }

  dispose(): void {
    const handle = this.handle;
    this.handle = undefined;
    if (handle) this.sync((native) => native.disposeSession(handle));
  }

  private open(): object {
    if (!this.handle) throw new TesseraeError('ERR_DISPOSED', 'the sampling session was disposed');
    return this.handle;
  }
}
