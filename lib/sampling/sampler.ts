import { randomInt } from 'node:crypto';
import { z } from 'zod';
import type { SequenceStarts } from '../data/dataset';
import { IdTokenizer } from '../data/id_tokenizer';
import { startsSchema } from '../data/sequences/starts';
import { aTokenizer, MOST_CONTEXT, type TokenDecoder, type Tokenizer } from '../data/tokenizer';
import { requireRowsFor } from '../data/vocabulary_fit';
import { TesseraeError } from '../errors';
import { isArrayLike } from '../models/argument_schemas';
import { reading, readList } from '../models/array_likes';
import { aModel, type Model } from '../models/model';
import { parseConfig, show } from '../models/validation';
import { beamSearch, type Beam } from './beam';
import { draw } from './draw';
import { rolesOf } from './model_roles';
import {
  checkRows,
  MOST_ROWS,
  MOST_TOKENS,
  resolveOptions,
  type GenerateOptions,
  type ResolvedOptions,
} from './options';
import { StopFilter } from './stop_filter';
import {
  Sequence,
  type FinishReason,
  type GeneratedToken,
  type TokenizedPrompt,
  type TokenLogprob,
} from './sequence';
import { TokenSet } from './token_set';

/** Text, or its token ids: at most 10,000,000. */
export type Prompt = string | ArrayLike<number>;

/** The result for a prompt. */
export interface Generation {
  /** The new text, without the prompt, the stop text and the token that ended it. */
  readonly text: string;
  /** The new tokens, including those of the stop text and the token that ended it. */
  readonly tokens: Int32Array;
  /** Why it ended. */
  readonly finishReason: FinishReason;
  /** With `logprobs`: natural logarithm of the model's probability of each new token. */
  readonly logprobs?: Float32Array;
  /** With a number as `logprobs`: for each new token, the likeliest tokens at its position. */
  readonly topLogprobs?: readonly (readonly TokenLogprob[])[];
}

/** The rules for prompts. */
export interface SamplerOptions {
  /**
   * How training sequences began, as returned by `loadModel`. Prompts must begin with one of its first tokens. If there is
   * only one, it replaces an empty prompt. Default: a prompt may begin with any token.
   */
  readonly trainingStarts?: SequenceStarts | undefined;
  /** Whether to accept prompts that begin differently from the training sequences. Default false. */
  readonly allowAnyStart?: boolean | undefined;
}

const optionsSchema = z.strictObject({
  trainingStarts: startsSchema.optional(),
  allowAnyStart: z.boolean().optional(),
});

/**
 * Generates text with a causal model. The model's context holds nPositions tokens. When it is full, generation continues
 * from its last half.
 *
 * Options apply to each token in this order: logitBias, suppressTokens, allowed tokens and masks, minNewTokens;
 * repetitionPenalty, then frequencyPenalty and presencePenalty; noRepeatNgramSize; temperature; topK; topP; minP; the draw.
 *
 * @example
 * const sampler = new Sampler(model, new ByteTokenizer());
 * const { text } = await sampler.generate('Call me', { maxNewTokens: 100, temperature: 0.8, seed: 1 });
 * for await (const { text } of sampler.stream('Call me')) process.stdout.write(text);
 */
export class Sampler {
  /** Converts prompts to token ids and generated ids to text. */
  readonly tokenizer: Tokenizer;
  /** Ids that have a token. */
  private readonly tokens: TokenSet;

  /**
   * Makes a sampler. It computes nothing until it generates.
   *
   * @param tokenizer - the tokenizer that the model was trained with. Default: texts are token ids with spaces between them, for
   * sequences that are not text. Ids without a token are never chosen: those for which `hasToken` returns false, and those from
   * the tokenizer's vocabSize on.
   * @param options - the rules for prompts.
   * @throws TesseraeError `ERR_CONFIG` for an encoder, for a tokenizer with more tokens than the model's vocabSize, or for a
   * wrong option.
   */
  constructor(
    /** The model that generates; the sampler does not dispose it. */
    readonly model: Model,
    tokenizer?: Tokenizer,
    private readonly options: SamplerOptions = {},
  ) {
    parseConfig(aModel, model, { at: 'model' });
    parseConfig(aTokenizer.optional(), tokenizer, { at: 'tokenizer' });
    parseConfig(optionsSchema, options);
    const { isEncoder, vocabSize } = model.tokens('a Sampler');
    this.tokenizer = tokenizer ?? new IdTokenizer(vocabSize);
    if (isEncoder)
      throw new TesseraeError(
        'ERR_CONFIG',
        'an encoder (isEncoder) does not predict next tokens: use model.logits()',
        { details: { path: 'isEncoder' } },
      );
    requireRowsFor(this.tokenizer, vocabSize);
    this.tokens = TokenSet.of(this.tokenizer, vocabSize);
  }

  /**
   * Continues a list of prompts side by side.
   *
   * @param prompts - the prompts. An empty array means no prompts, whatever its type; an empty prompt is `''`.
   * @returns the sequences of the first prompt, then those of the next: numReturnSequences each, or fewer if the options of a
   * beam search leave fewer.
   * @throws TesseraeError as for one prompt.
   */
  async generate(prompts: readonly Prompt[], options?: GenerateOptions): Promise<Generation[]>;
  /**
   * Continues a prompt.
   *
   * @param prompt - text or token ids. An empty one (`''`) is replaced by the only first token of `trainingStarts`, or else the
   * model's bosTokenId, or else the tokenizer's start token (bytes: a newline).
   * @throws TesseraeError `ERR_CONFIG` for a wrong option, `ERR_DATA` for a prompt that can't be read or if no token is allowed,
   * `ERR_OUT_OF_MEMORY`, `ERR_BUSY` during another call of the model, `ERR_DISPOSED` after its `dispose()`.
   */
  async generate(prompt: Prompt, options?: GenerateOptions): Promise<Generation>;
  async generate(
    prompt: Prompt | readonly Prompt[],
    options: GenerateOptions = {},
  ): Promise<Generation | Generation[]> {
    const resolved = this.resolved(options);
    const { signal } = resolved;
    const several = reading(PROMPT, () => isList(prompt));
    if (!several) this.requireOne(resolved);
    const prompts = several
      ? await this.tokensOfEach(prompt as readonly Prompt[])
      : [await this.promptTokens(prompt as Prompt)];
    if (prompts.length === 0) return [];
    checkRows(prompts.length, resolved);
    if (resolved.numBeams > 1) {
      const made = await this.searched(prompts, resolved);
      const [best] = made;
      return several || !best ? made : best;
    }
    const sequences = this.sequences(prompts, resolved);
    if (!signal?.aborted) {
      for await (const _ of draw(this.model, sequences, resolved)) if (signal?.aborted) break;
    }
    const generations = sequences.map((sequence) => generationOf(sequence, resolved));
    const first = generations[0];
    return several || !first ? generations : first;
  }

  /**
   * Like `generate` for one prompt, with the same errors, but yields each token as it is generated; `break` ends it.
   *
   * @returns an iterator that yields tokens and returns why it ended.
   */
  async *stream(
    prompt: Prompt,
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, FinishReason, void> {
    const resolved = this.resolved(options);
    const { signal } = resolved;
    this.requireOne(resolved);
    if (resolved.numBeams > 1)
      throw new TesseraeError(
        'ERR_CONFIG',
        'numBeams does not work with stream(), because beam search knows its sequences only at the end: call generate()',
        {
          details: { path: 'numBeams' },
        },
      );
    const sequences = this.sequences([await this.promptTokens(prompt)], resolved);
    const [sequence] = sequences;
    if (signal?.aborted || !sequence) return 'abort';
    let shown = 0;
    for await (const _ of draw(this.model, sequences, resolved)) {
      for (; shown < sequence.generated.length; shown++) {
        const token = sequence.generated[shown];
        if (token) yield token;
        const last = shown + 1 === sequence.generated.length && sequence.finishReason !== undefined;
        if (signal?.aborted && !last) return 'abort';
      }
    }
    return sequence.finishReason ?? 'abort';
  }

  private async searched(
    prompts: readonly TokenizedPrompt[],
    options: ResolvedOptions,
  ): Promise<Generation[]> {
    const found = await beamSearch(this.model, prompts, options, () => options.signal?.aborted === true);
    return prompts.flatMap(({ decoder }, i) =>
      (found[i] ?? []).map((beam) => generationOfBeam(beam, options, decoder())),
    );
  }

  private resolved(options: GenerateOptions): ResolvedOptions {
    const { vocabSize, nTypes, nStypes } = this.model.tokens('a Sampler');
    const { tokens, tokenizer } = this;
    const { endOfTextToken } = tokenizer;
    const { ends } = rolesOf(this.model, tokens);
    const endTokens = ends.length > 0 ? ends : endOfTextToken === undefined ? [] : [endOfTextToken];
    return resolveOptions(options, { vocabSize, nTypes, nStypes, tokens, endTokens });
  }

  private requireOne({ numReturnSequences }: ResolvedOptions): void {
    if (numReturnSequences > 1)
      throw new TesseraeError(
        'ERR_CONFIG',
        `numReturnSequences is ${numReturnSequences}, but one sequence is returned here: call generate([prompt], …)`,
        { details: { path: 'numReturnSequences' } },
      );
  }

  private sequences(prompts: readonly TokenizedPrompt[], options: ResolvedOptions): Sequence[] {
    const { numReturnSequences, seed } = options;
    const random = randomInt(2 ** 48 - 1);
    return prompts.flatMap(({ tokens, decoder }, index) =>
      Array.from({ length: numReturnSequences }, (_, i) => {
        // With a seed, a prompt draws the same as it would alone; without one, no prompt draws the same as another.
        const stream =
          seed === undefined
            ? { seed: random, sequence: index * numReturnSequences + i }
            : { seed, sequence: i };
        return new Sequence(index, i, [...tokens], stream, decoder(), options.stop);
      }),
    );
  }

  private async tokensOfEach(given: readonly Prompt[]): Promise<TokenizedPrompt[]> {
    const rules = { name: 'the list of prompts', code: 'ERR_DATA', most: MOST_ROWS } as const;
    const prompts = readList(given, rules, (prompt) => prompt as Prompt);
    return Promise.all(prompts.map((prompt, i) => this.promptTokens(prompt, `prompts[${i}]`)));
  }

  private async promptTokens(prompt: Prompt, name: string = PROMPT.name): Promise<TokenizedPrompt> {
    if (typeof prompt !== 'string' && !reading({ ...PROMPT, name }, () => isArrayLike(prompt)))
      throw new TesseraeError(
        'ERR_DATA',
        `${name} is ${show(prompt)}: it must be text or an array of token ids`,
      );
    const given = typeof prompt === 'string' ? await this.tokenizer.encode(prompt) : prompt;
    const { vocabSize } = this.tokenizer;
    const check = (id: unknown, position: number): number => {
      if (typeof id === 'number' && this.tokens.has(id)) return id;
      throw new TesseraeError(
        'ERR_DATA',
        `token ${position} of ${name} is ${show(id)}: ids are integers from 0 to ${vocabSize - 1}` +
          (this.tokenizer.hasToken ? ' that have a token' : ''),
        { details: { position } },
      );
    };
    const tokens = readList(given, { ...PROMPT, name, most: MOST_TOKENS }, check);
    // The token that replaces an empty prompt is not part of its text.
    const written = tokens.length === 0 ? [] : tokens;
    if (tokens.length === 0) tokens.push(check(this.startToken(), 0));
    this.checkStart(tokens[0] ?? -1);
    const decoder = (generated: readonly number[] = []): TokenDecoder =>
      this.tokenizer.decoder(
        generated.length === 0
          ? written
          : [...written.slice(-MOST_CONTEXT), ...generated.slice(-MOST_CONTEXT)],
      );
    return { tokens, decoder };
  }

  /** The first tokens of training sequences, most frequent first; undefined if any token may begin one. */
  private get firstTokens(): readonly number[] | undefined {
    const { firstTokens = 'any' } = this.options.trainingStarts ?? {};
    return firstTokens === 'any' ? undefined : firstTokens.map(({ token }) => token);
  }

  private checkStart(first: number): void {
    const { firstTokens } = this;
    if (!firstTokens || this.options.allowAnyStart || firstTokens.includes(first)) return;
    throw new TesseraeError(
      'ERR_DATA',
      `the prompt begins with token ${this.shown(first)}, but the training sequences began with ` +
        `${firstTokens.map((token) => this.shown(token)).join(', ')}: begin with ` +
        `${firstTokens.length === 1 ? 'it' : 'one of these'}, or set allowAnyStart (--allow-any-start)`,
      { details: { token: first, firstTokens } },
    );
  }

  /** A token with its text, if it has one: `10 ("\n")`. */
  private shown(token: number): string {
    const text = token < this.tokenizer.vocabSize ? this.tokenizer.decode([token]) : '';
    return /^\uFFFD?$/.test(text) || text === String(token)
      ? String(token)
      : `${token} (${JSON.stringify(text)})`;
  }

  private startToken(): number {
    const { firstTokens } = this;
    const [only] = firstTokens?.length === 1 ? firstTokens : [];
    const token = only ?? rolesOf(this.model, this.tokens).start ?? this.tokenizer.startToken;
    if (token !== undefined) return token;
    throw new TesseraeError(
      'ERR_DATA',
      `the prompt is empty, and there is no start token (bosTokenId of the model, or one of the '${this.tokenizer.name}' ` +
        `tokenizer): give at least one token`,
    );
  }
}

/** How a prompt's mistakes are reported. */
const PROMPT = { name: 'the prompt', code: 'ERR_DATA' } as const;

/** Whether it is a list of prompts; an array of numbers is one prompt, and an empty array a list of none. */
function isList(prompt: Prompt | readonly Prompt[]): prompt is readonly Prompt[] {
  return Array.isArray(prompt) && typeof prompt[0] !== 'number';
}

function generationOfBeam(
  { tokens, finishReason }: Beam,
  { eosTokens, stopTokens, stop }: ResolvedOptions,
  decoder: TokenDecoder,
): Generation {
  const last = tokens.at(-1) ?? -1;
  const isSilent = finishReason !== 'abort' && (eosTokens.includes(last) || stopTokens.includes(last));
  const filter = new StopFilter(stop);
  // Not by decode(): a continuation may begin differently from a text.
  const pieces = (isSilent ? tokens.slice(0, -1) : tokens).map((token) => decoder.push(token));
  if (finishReason !== 'abort') pieces.push(decoder.end());
  const { text, stopped } = filter.push(pieces.join(''));
  return {
    text: stopped ? text : text + filter.end(),
    tokens: Int32Array.from(tokens),
    finishReason,
  };
}

function generationOf({ generated, finishReason }: Sequence, { logprobs }: ResolvedOptions): Generation {
  return {
    text: generated.map(({ text }) => text).join(''),
    tokens: Int32Array.from(generated, ({ token }) => token),
    finishReason: finishReason ?? 'abort',
    ...(logprobs === false
      ? {}
      : { logprobs: Float32Array.from(generated, ({ logprob }) => logprob ?? NaN) }),
    ...(typeof logprobs === 'number' && logprobs > 0
      ? { topLogprobs: generated.map(({ topLogprobs }) => topLogprobs ?? []) }
      : {}),
  };
}
