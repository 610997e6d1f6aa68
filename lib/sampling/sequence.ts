import type { TokenDecoder } from '../data/tokenizer';
import type { Finish, Visit } from '../native';
import { StopFilter } from './stop_filter';

/** Why a sequence ended: an eosTokenId, a stop token or text, maxNewTokens, or the signal. */
export type FinishReason = 'eos' | 'stop' | 'length' | 'abort';

/** A token and the model's log-probability of it. */
export interface TokenLogprob {
  /** Its id. */
  readonly token: number;
  /** Natural logarithm of its probability, at most 0, in nats. */
  readonly logprob: number;
}

/** One token as it is generated. */
export interface GeneratedToken {
  /** Its id. */
  readonly token: number;
  /** The new text: whole characters only; empty while a character is incomplete or may belong to a stop text. */
  readonly text: string;
  /** With `logprobs`: natural logarithm of the model's probability of it, in nats. */
  readonly logprob?: number;
  /** With a number as `logprobs`: the likeliest tokens, likeliest first. */
  readonly topLogprobs?: readonly TokenLogprob[];
}

/** A prompt, and how to decode its continuation. */
export interface TokenizedPrompt {
  /** At least one. */
  readonly tokens: readonly number[];
  /** Makes a decoder of what continues the prompt and, after it, `generated` tokens. Default: none. */
  readonly decoder: (generated?: readonly number[]) => TokenDecoder;
}

/** Where a sequence's random numbers come from: all sequences of all seeds have their own. */
export interface RandomStream {
  /** An integer in [0, 2^53). */
  readonly seed: number;
  /** Which of the seed's sequences it is, from 0. */
  readonly sequence: number;
}

/** A sequence that is being generated. */
export class Sequence {
  readonly generated: GeneratedToken[] = [];
  finishReason: FinishReason | undefined;
  private readonly filter: StopFilter;

  /** @param tokens - those of the prompt; new ones are added. */
  constructor(
    readonly prompt: number,
    readonly sequence: number,
    readonly tokens: number[],
    readonly stream: RandomStream,
    private readonly decoder: TokenDecoder,
    stop: readonly string[],
  ) {
    this.filter = new StopFilter(stop);
  }

  /** Takes what a visit chose for row `row` of `rows`, up to the token that ends the sequence. */
  take(visit: Visit, row: number, rows: number): void {
    const finish = visit.finished[row] ?? 'running';
    let steps = 0;
    while (steps < visit.steps && (visit.tokens[steps * rows + row] ?? -1) >= 0) steps++;
    for (let step = 0; step < steps && this.finishReason === undefined; step++)
      this.push(visit, step * rows + row, step + 1 === steps ? finish : 'running');
  }

  private push(visit: Visit, at: number, finish: Finish): void {
    const token = visit.tokens[at] ?? -1;
    this.tokens.push(token);
    const silent = finish === 'end' || finish === 'stop';
    const ends = silent || finish === 'length';
    const piece = (silent ? '' : this.decoder.push(token)) + (ends ? this.decoder.end() : '');
    const { text, stopped } = this.filter.push(piece);
    const k = visit.topTokens.length / Math.max(1, visit.tokens.length);
    this.generated.push({
      token,
      text: ends && !stopped ? text + this.filter.end() : text,
      ...(visit.logProbs.length > 0 ? { logprob: visit.logProbs[at] ?? NaN } : {}),
      ...(k > 0 ? { topLogprobs: likeliest(visit, at * k, k) } : {}),
    });
    if (stopped || finish === 'stop') this.finishReason = 'stop';
    else if (finish === 'end') this.finishReason = 'eos';
    else if (finish === 'length') this.finishReason = 'length';
  }
}

function likeliest(visit: Visit, from: number, count: number): TokenLogprob[] {
  return Array.from({ length: count }, (_, i) => ({
    token: visit.topTokens[from + i] ?? -1,
    logprob: visit.topLogProbs[from + i] ?? NaN,
    // If there are fewer tokens than requested, ids without a token (probability 0) fill the list.
  })).filter(({ token, logprob }) => token >= 0 && logprob > -Infinity);
}
