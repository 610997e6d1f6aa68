import { randomInt } from 'node:crypto';
import { z } from 'zod';
import type { SequenceStarts } from '../data/dataset';
import { IdTokenizer } from '../data/id_tokenizer';
import { startsSchema } from '../data/sequences/starts';
import { aTokenizer, type Tokenizer } from '../data/tokenizer';
import { TesseraeError } from '../errors';
import { isArrayLike } from '../models/argument_schemas';
import { aModel, type Model } from '../models/model';
import { parseConfig, show } from '../models/validation';
import { beamSearch, type Beam } from './beam';
import { draw } from './draw';
import { resolveOptions, type GenerateOptions, type ResolvedOptions } from './options';
import { Sequence, type FinishReason, type GeneratedToken, type TokenLogprob } from './sequence';

/** Text, or its token ids. */
export type Prompt = string | ArrayLike<number>;

/** What was generated for a prompt. */
export interface Generation {
  /** The new text, without the prompt, the stop text and the token that ended it. */
  readonly text: string;
  /** The new tokens, with those of the stop text and the token that ended it. */
  readonly tokens: Int32Array;
  /** Why it ended. */
  readonly finishReason: FinishReason;
  /** With `logprobs`: natural logarithm of the probability of each new token, by the model alone. */
  readonly logprobs?: Float32Array;
  /** With `logprobs` of a number: of each new token, the likeliest ones in its place. */
  readonly topLogprobs?: readonly (readonly TokenLogprob[])[];
}

/** What prompts have to be. */
export interface SamplerOptions {
  /**
   * How the sequences of training began, as `loadModel` returns it: prompts must begin with one of its first tokens, and
   * an empty prompt becomes the only one. Default: a prompt may begin with any token.
   */
  readonly trainingStarts?: SequenceStarts | undefined;
  /** Takes prompts that begin otherwise than training did. Default false. */
  readonly allowAnyStart?: boolean | undefined;
}

const optionsSchema = z.strictObject({
  trainingStarts: startsSchema.optional(),
  allowAnyStart: z.boolean().optional(),
});

/**
 * Generates text with a causal model. The model's context is nPositions tokens: when it is full, generation goes on from
 * the last half of it.
 *
 * What decides about a token, in this order: logitBias, suppressTokens, allowed tokens and masks, minNewTokens;
 * repetitionPenalty, then frequencyPenalty and presencePenalty; noRepeatNgramSize; temperature; topK; topP; minP; the draw.
 *
 * @example
 * const sampler = new Sampler(model, new ByteTokenizer());
 * const { text } = await sampler.generate('Call me', { maxNewTokens: 100, temperature: 0.8, seed: 1 });
 * for await (const { text } of sampler.stream('Call me')) process.stdout.write(text);
 */
export class Sampler {
  /** How prompts become token ids, and generated ids a text. */
  readonly tokenizer: Tokenizer;

  /**
   * Makes a sampler; nothing is computed before it generates.
   *
   * @param tokenizer - the one that the model was trained with. Default: texts are token ids with spaces between them, for
   * models of sequences that are no text.
   * @param options - what prompts have to be.
   * @throws TesseraeError `ERR_CONFIG` for a model that can't continue a text with this tokenizer, and for a wrong option.
   */
  constructor(
    /** What generates; not disposed with the sampler. */
    readonly model: Model,
    tokenizer?: Tokenizer,
    private readonly options: SamplerOptions = {},
  ) {
    parseConfig(aModel, model, { at: 'model' });
    parseConfig(aTokenizer.optional(), tokenizer, { at: 'tokenizer' });
    parseConfig(optionsSchema, options);
    const { isEncoder, vocabSize } = model.config;
    this.tokenizer = tokenizer ?? new IdTokenizer(vocabSize);
    const refuse = (path: string, message: string): never => {
      throw new TesseraeError('ERR_CONFIG', message, { details: { path } });
    };
    if (isEncoder)
      refuse('isEncoder', 'an encoder (isEncoder) does not predict next tokens: use model.logits()');
    const { name, vocabSize: known } = this.tokenizer;
    if (known !== vocabSize)
      refuse(
        'vocabSize',
        `the '${name}' tokenizer has ${known} tokens, but the model's vocabSize is ${vocabSize}: ` +
          `use the tokenizer that the model was trained with`,
      );
  }

  /**
   * Continues a list of prompts side by side.
   *
   * @param prompts - an empty array is a list of no prompts, whatever its type: a prompt of no tokens is `''`.
   * @returns the sequences of the first prompt, then those of the next, numReturnSequences each.
   * @throws TesseraeError as for one prompt.
   */
  async generate(prompts: readonly Prompt[], options?: GenerateOptions): Promise<Generation[]>;
  /**
   * Continues a prompt.
   *
   * @param prompt - text or token ids; an empty one (`''`) becomes the only first token of `trainingStarts`, or else the
   * tokenizer's start token (bytes: a newline).
   * @throws TesseraeError `ERR_CONFIG` for a wrong option, `ERR_DATA` for a prompt that can't be read or when no token is
   * allowed, `ERR_OUT_OF_MEMORY`, `ERR_BUSY` while the model is at work, `ERR_DISPOSED` after its `dispose()`.
   */
  async generate(prompt: Prompt, options?: GenerateOptions): Promise<Generation>;
  async generate(
    prompt: Prompt | readonly Prompt[],
    options: GenerateOptions = {},
  ): Promise<Generation | Generation[]> {
    const resolved = resolveOptions(options, this.model.config, this.tokenizer.endOfTextToken);
    const { signal } = resolved;
    const several = isList(prompt);
    if (several && prompt.length === 0) return [];
    if (!several) this.requireOne(resolved);
    const prompts = several ? await this.tokensOfEach(prompt) : [await this.promptTokens(prompt)];
    if (resolved.numBeams > 1) {
      const beams = await beamSearch(this.model, prompts, resolved, () => signal?.aborted === true);
      const made = beams.flatMap((found, i) => found.map((beam) => this.generationOfBeam(beam, prompts[i])));
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
   * As `generate` of one prompt, with the same errors, token by token as they come; `break` ends it.
   *
   * @returns an iterator that yields tokens and returns why it ended.
   */
  async *stream(
    prompt: Prompt,
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, FinishReason, void> {
    const resolved = resolveOptions(options, this.model.config, this.tokenizer.endOfTextToken);
    const { signal } = resolved;
    this.requireOne(resolved);
    if (resolved.numBeams > 1)
      throw new TesseraeError(
        'ERR_CONFIG',
        'numBeams: beam search knows its sequences at the end: call generate()',
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

  private generationOfBeam({ tokens, finishReason }: Beam, prompt: readonly number[] = []): Generation {
    const silent = finishReason === 'eos' || finishReason === 'stop';
    // Not by decode(): what continues a prompt may begin otherwise than a text does.
    const decoder = this.tokenizer.decoder(prompt);
    const text = (silent ? tokens.slice(0, -1) : tokens).map((token) => decoder.push(token)).join('');
    return {
      text: finishReason === 'abort' ? text : text + decoder.end(),
      tokens: Int32Array.from(tokens),
      finishReason,
    };
  }

  private requireOne({ numReturnSequences }: ResolvedOptions): void {
    if (numReturnSequences > 1)
      throw new TesseraeError(
        'ERR_CONFIG',
        `numReturnSequences is ${numReturnSequences}, but one sequence is returned here: call generate([prompt], …)`,
        { details: { path: 'numReturnSequences' } },
      );
  }

  private sequences(prompts: readonly (readonly number[])[], options: ResolvedOptions): Sequence[] {
    const seed = options.seed ?? randomInt(2 ** 48 - 1);
    return prompts.flatMap((tokens, index) =>
      Array.from({ length: options.numReturnSequences }, (_, i) => {
        const own = (seed + i) % Number.MAX_SAFE_INTEGER;
        return new Sequence(index, i, [...tokens], own, this.tokenizer.decoder(tokens), options.stop);
      }),
    );
  }

  private tokensOfEach(prompts: readonly Prompt[]): Promise<number[][]> {
    return Promise.all(Array.from(prompts, (prompt, i) => this.promptTokens(prompt, `prompts[${i}]`)));
  }

  private async promptTokens(prompt: Prompt, name = 'the prompt'): Promise<number[]> {
    if (typeof prompt !== 'string' && !isArrayLike(prompt))
      throw new TesseraeError(
        'ERR_DATA',
        `${name} is ${show(prompt)}: it must be text or an array of token ids`,
      );
    const tokens = Array.from(typeof prompt === 'string' ? await this.tokenizer.encode(prompt) : prompt);
    if (tokens.length === 0) tokens.push(this.startToken());
    const { vocabSize } = this.model.config;
    const wrong = tokens.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (wrong >= 0)
      throw new TesseraeError(
        'ERR_DATA',
        `token ${wrong} of ${name} is ${show(tokens[wrong])}: ids are integers from 0 to ${vocabSize - 1}`,
        { details: { position: wrong } },
      );
    this.checkStart(tokens[0] ?? -1);
    return tokens;
  }

  /** The first tokens of training's sequences, the most frequent first; undefined where any may begin one. */
  private get firstTokens(): readonly number[] | undefined {
    const { firstTokens = 'any' } = this.options.trainingStarts ?? {};
    return firstTokens === 'any' ? undefined : firstTokens.map(({ token }) => token);
  }

  private checkStart(first: number): void {
    const { firstTokens } = this;
    if (!firstTokens || this.options.allowAnyStart || firstTokens.includes(first)) return;
    throw new TesseraeError(
      'ERR_DATA',
      `the prompt begins with token ${this.shown(first)}, but sequences of training began with ` +
        `${firstTokens.map((token) => this.shown(token)).join(', ')}: begin with ` +
        `${firstTokens.length === 1 ? 'it' : 'one of these'}, or set allowAnyStart (--allow-any-start)`,
      { details: { token: first, firstTokens } },
    );
  }

  /** A token with its text, where it has one: `10 ("\n")`. */
  private shown(token: number): string {
    const text = token < this.tokenizer.vocabSize ? this.tokenizer.decode([token]) : '';
    return /^\uFFFD?$/.test(text) || text === String(token)
      ? String(token)
      : `${token} (${JSON.stringify(text)})`;
  }

  private startToken(): number {
    const { firstTokens } = this;
    const [only] = firstTokens?.length === 1 ? firstTokens : [];
    const token = only ?? this.tokenizer.startToken;
    if (token !== undefined) return token;
    throw new TesseraeError(
      'ERR_DATA',
      `the prompt is empty, and the '${this.tokenizer.name}' tokenizer has no start token: give at least one token`,
    );
  }
}

/** Whether it is a list of prompts; an array of numbers is one prompt, and an empty array a list of none. */
function isList(prompt: Prompt | readonly Prompt[]): prompt is readonly Prompt[] {
  return Array.isArray(prompt) && typeof prompt[0] !== 'number';
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
