import { randomInt } from 'node:crypto';
import { z } from 'zod';
import type { Tokenizer } from '../data/tokenizer';
import { TesseraeError } from '../errors';
import type { Model } from '../models/model';
import { parseConfig } from '../models/validation';
import { StopFilter } from './stop_filter';
import { chooseTokens } from './token_stream';

/** How text is generated. */
export interface GenerateOptions {
  /** Tokens to generate at most, 1 to 10,000,000. Default 256. */
  readonly maxNewTokens?: number;
  /** Logits are divided by it: below 1 likelier tokens win more often; 0: the likeliest always. Default 1. */
  readonly temperature?: number;
  /** The same seed gives the same tokens on the same device; an integer in [0, 2^53). Default: a random one. */
  readonly seed?: number;
  /** Texts that end the generation; they are not part of the text returned. */
  readonly stop?: string | readonly string[];
  /** Ends the generation early, with what there is. */
  readonly signal?: AbortSignal;
}

/** Why a generation ended: maxNewTokens, a stop text, or the signal. */
export type FinishReason = 'length' | 'stop' | 'abort';

export interface Generation {
  /** The new text, without the prompt and the stop text. */
  readonly text: string;
  /** The new tokens, with those of the stop text. */
  readonly tokens: Int32Array;
  readonly finishReason: FinishReason;
}

/** One token as it is generated. */
export interface GeneratedToken {
  readonly token: number;
  /** Text that is certain by now: whole characters, empty while one is incomplete or may belong to a stop text. */
  readonly text: string;
}

const optionsSchema = z.strictObject({
  maxNewTokens: z.int().min(1).max(10_000_000).default(256),
  temperature: z.number().min(0).max(1000).default(1),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1))]).default([]),
});

const synonyms = { maxTokens: 'maxNewTokens', maxOutputTokens: 'maxNewTokens', stopSequences: 'stop' };

/**
 * Generates text with a causal model. The model's context is nPositions tokens: when it is full, generation goes on from
 * the last half of it.
 *
 * @example
 * const sampler = new Sampler(model, new ByteTokenizer());
 * const { text } = await sampler.generate('Call me', { maxNewTokens: 100, temperature: 0.8, seed: 1 });
 * for await (const { text } of sampler.stream('Call me')) process.stdout.write(text);
 */
export class Sampler {
  /** @throws TesseraeError `ERR_CONFIG` for a model that can't continue a text with this tokenizer. */
  constructor(
    readonly model: Model,
    readonly tokenizer: Tokenizer,
  ) {
    const { isEncoder, vocabSize, nTypes, nStypes } = model.config;
    const refuse = (path: string, message: string): never => {
      throw new TesseraeError('ERR_CONFIG', message, { details: { path } });
    };
    if (isEncoder)
      refuse('isEncoder', 'an encoder (isEncoder) does not predict next tokens: use model.logits()');
    if (nTypes > 0 || nStypes > 0)
      refuse(
        'nTypes',
        'a model with nTypes or nStypes needs the types of new tokens too: use model.logits()',
      );
    if (tokenizer.vocabSize !== vocabSize)
      refuse(
        'vocabSize',
        `the '${tokenizer.name}' tokenizer has ${tokenizer.vocabSize} tokens, but the model's vocabSize is ${vocabSize}: ` +
          `use the tokenizer that the model was trained with`,
      );
  }

  /**
   * Continues a prompt.
   *
   * @param prompt - text or token ids; an empty one becomes the tokenizer's start token (bytes: a newline).
   * @throws TesseraeError `ERR_CONFIG` for a wrong option, `ERR_DATA` for a prompt that can't be read, `ERR_BUSY` while
   * the model is at work, `ERR_DISPOSED` after its `dispose()`.
   */
  async generate(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): Promise<Generation> {
    const stream = this.stream(prompt, options);
    const tokens: number[] = [];
    const texts: string[] = [];
    for (;;) {
      const { done, value } = await stream.next();
      if (done) return { text: texts.join(''), tokens: Int32Array.from(tokens), finishReason: value };
      tokens.push(value.token);
      texts.push(value.text);
    }
  }

  /**
   * As `generate`, token by token; `break` ends it.
   *
   * @returns an iterator that yields tokens and returns why it ended.
   */
  async *stream(
    prompt: string | ArrayLike<number>,
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, FinishReason, void> {
    const { signal, ...rest } = options;
    const { maxNewTokens, temperature, seed, stop } = parseConfig(optionsSchema, rest, { synonyms });
    const filter = new StopFilter(typeof stop === 'string' ? [stop] : stop);
    const decoder = this.tokenizer.decoder();
    if (signal?.aborted) return 'abort';
    const visits = chooseTokens(this.model, this.promptTokens(prompt), {
      count: maxNewTokens,
      temperature,
      seed: seed ?? randomInt(2 ** 48 - 1),
    });
    let count = 0;
    for await (const tokens of visits) {
      for (const token of tokens) {
        const last = ++count === maxNewTokens;
        const piece = decoder.push(token) + (last ? decoder.end() : '');
        const { text, stopped } = filter.push(piece);
        yield { token, text: last && !stopped ? text + filter.end() : text };
        if (stopped) return 'stop';
        if (signal?.aborted && !last) return 'abort';
      }
    }
    return 'length';
  }

  private promptTokens(prompt: string | ArrayLike<number>): number[] {
    const tokens = Array.from(typeof prompt === 'string' ? this.tokenizer.encode(prompt) : prompt);
    const { vocabSize } = this.model.config;
    const wrong = tokens.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (wrong >= 0)
      throw new TesseraeError(
        'ERR_DATA',
        `token ${wrong} of the prompt is ${String(tokens[wrong])}: ids are integers from 0 to ${vocabSize - 1}`,
        { details: { position: wrong } },
      );
    if (tokens.length > 0) return tokens;
    const { startToken } = this.tokenizer;
    if (startToken === undefined)
      throw new TesseraeError(
        'ERR_DATA',
        `the prompt is empty, and the '${this.tokenizer.name}' tokenizer has no start token: give at least one token`,
      );
    return [startToken];
  }
}
