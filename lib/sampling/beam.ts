import type { Model } from '../models/model';
import { TesseraeError } from '../errors';
import { largestOf } from '../models/extremes';
import { sessionInputs, type RowContext } from './constraints';
import { prefill } from './draw';
import { maskOf } from './masks';
import type { MaskedSequence, ResolvedOptions } from './options';
import type { FinishReason, TokenizedPrompt } from './sequence';
import type { NativeSession, Visit } from '../native';

/** A hypothesis for one prompt. */
interface Hypothesis {
  /** New tokens. */
  readonly tokens: readonly number[];
  /** Sum of their log-probabilities after the options changed them. */
  readonly logprob: number;
}

/** A hypothesis that has ended: its score is logprob / length ^ lengthPenalty. */
export interface Beam extends Hypothesis {
  readonly score: number;
  readonly finishReason: FinishReason;
}

interface Candidate extends Hypothesis {
  readonly parent: number;
  readonly token: number;
  /** The end of its text: what its last token adds, after enough text for a stop text to begin in; '' without stop texts. */
  readonly text: string;
}

/** The result of a search that is aborted before it begins. */
const NOTHING: Beam = { tokens: [], logprob: 0, score: 0, finishReason: 'abort' };

/** A score far below that of any real beam. */
const NEVER = -1e9;

/**
 * Beam search as in Hugging Face's `generate`: numBeams hypotheses of each prompt continue side by side; those that end are
 * kept by score. Biases, masks and penalties change the log-probabilities, which are not normalized again. A beam without
 * an allowed token ends without a result. All rows take the same number of steps.
 *
 * @param isAborted - called before the first step and after each step.
 * @returns for each prompt its best numReturnSequences hypotheses, or fewer if there are fewer, best first.
 * @throws TesseraeError `ERR_CONFIG` if a prompt and its new tokens exceed nPositions, `ERR_DATA` if no beam of a prompt has
 * an allowed token.
 */
export async function beamSearch(
  model: Model,
  prompts: readonly TokenizedPrompt[],
  options: ResolvedOptions,
  isAborted: () => boolean,
): Promise<Beam[][]> {
  const { numBeams, maxNewTokens, numReturnSequences } = options;
  const settings = model.tokens('sampling');
  const { nPositions } = settings;
  const longest = prompts.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  if (longest + maxNewTokens - 1 > nPositions)
    throw new TesseraeError(
      'ERR_CONFIG',
      `beam search keeps whole sequences: a prompt of ${longest} tokens and maxNewTokens ${maxNewTokens} do not fit ` +
        `nPositions ${nPositions}`,
      { details: { path: 'maxNewTokens' } },
    );
  if (isAborted()) return prompts.map(() => Array<Beam>(numReturnSequences).fill(NOTHING));
  const searches = prompts.map((prompt) => new Search(prompt, options));
  const rows = prompts.flatMap(({ tokens }) =>
    Array<RowContext>(numBeams).fill({ tokens, context: tokens, last: tokens.length + maxNewTokens - 1 }),
  );
  const { promptTypes, ...inputs } = sessionInputs(options, settings, rows);
  const session = await model.native.createSession({
    rows: rows.length,
    cache: nPositions,
    seeds: rows.map(() => 0),
    settings: rows.map(() => ({ ...options, temperature: 0, maxNewTokens: 10_000_000 })),
    ...inputs,
    features: { ...inputs.features, filter: false, beams: true, logProbs: candidatesOf(options) },
  });
  try {
    await prefill(
      session,
      rows.map(({ context }) => context),
      nPositions,
      promptTypes,
    );
    for (let length = 1; length <= maxNewTokens; length++) {
      const mask = options.tokenMask ? await maskOfBeams(session, searches, options) : undefined;
      const visit = await session.decode(1, mask);
      const moves = searches.map((search, i) => search.step(visit, i * numBeams, length));
      if (isAborted() || length === maxNewTokens || searches.every(({ done }) => done)) break;
      const parents = moves.flatMap((beams, i) => beams.map(({ parent }) => i * numBeams + parent));
      const tokens = moves.flatMap((beams) => beams.map(({ token }) => token));
      await session.redirect(Int32Array.from(parents), Int32Array.from(tokens));
    }
  } finally {
    session.dispose();
  }
  return searches.map((search, prompt) => {
    const best = search.best(numReturnSequences);
    if (best.length > 0) return best;
    throw new TesseraeError(
      'ERR_DATA',
      `prompt ${prompt}: no token can be chosen: the options allow none, or no allowed token has a finite logit`,
      { details: { row: prompt } },
    );
  });
}

/** Continuations to consider per beam: enough for numBeams to continue when others end. */
function candidatesOf({ numBeams, eosTokens, stopTokens }: ResolvedOptions): number {
  return Math.max(2, 1 + eosTokens.length + stopTokens.length) * numBeams;
}

async function maskOfBeams(
  session: NativeSession,
  searches: readonly Search[],
  options: ResolvedOptions,
): Promise<Uint32Array> {
  const batch = searches.flatMap((search, prompt) => search.sequences(prompt));
  // One beam of several may have no continuation.
  return maskOf(session, batch, { ...options, isOpen: () => false });
}

/** The beams of one prompt. */
class Search {
  done = false;
  private running: readonly Candidate[];
  private ended: Beam[] = [];
  /** Characters of the longest stop text. */
  private readonly longestStop: number;

  constructor(
    private readonly prompt: TokenizedPrompt,
    private readonly options: ResolvedOptions,
  ) {
    // All beams start equal, so only the first may continue.
    this.running = Array.from({ length: options.numBeams }, (_, i) => ({
      tokens: [],
      logprob: i === 0 ? 0 : NEVER,
      parent: i,
      token: 0,
      text: '',
    }));
    this.longestStop = largestOf(options.stop.map(({ length }) => length));
  }

  /** Its beams as `tokenMask` sees them. */
  sequences(prompt: number): MaskedSequence[] {
    return this.running.map(({ tokens }, sequence) => ({
      prompt,
      sequence,
      tokens: [...this.prompt.tokens, ...tokens],
    }));
  }

  /** Takes the likeliest continuations of its rows; returns the rows that continue and their tokens. */
  step(visit: Visit, firstRow: number, length: number): readonly Candidate[] {
    const { numBeams } = this.options;
    if (this.done) return this.running.map((beam, parent) => ({ ...beam, parent, token: 0 }));
    const going: Candidate[] = [];
    const candidates = this.candidates(visit, firstRow, length);
    for (const [i, candidate] of candidates.entries()) {
      // Only those among the numBeams likeliest may end.
      if (i >= numBeams && going.length === numBeams) break;
      const ending = this.endingOf(candidate);
      const finishReason = ending ?? (length === this.options.maxNewTokens ? 'length' : undefined);
      if (i < numBeams && finishReason && candidate.logprob > NEVER / 2)
        this.end(candidate, finishReason, length);
      if (ending === undefined && going.length < numBeams) going.push(candidate);
    }
    const canGoOn = going.some(({ logprob }) => logprob > NEVER / 2);
    // Too few continuations may be left that do not end: the last beam then continues several times; its copies never win.
    const filler = going.at(-1) ?? { tokens: [], parent: 0, token: 0, text: '' };
    while (going.length < numBeams) going.push({ ...filler, logprob: NEVER });
    this.running = going;
    this.done = !canGoOn || this.isDone(length);
    return going;
  }

  best(count: number): Beam[] {
    const rest = this.running
      // Those of maxNewTokens have ended.
      .filter(({ logprob, tokens: { length } }) => {
        return logprob > NEVER / 2 && length > 0 && length < this.options.maxNewTokens;
      })
      .map((beam): Beam => ({
        ...beam,
        score: this.score(beam.logprob, beam.tokens.length),
        finishReason: 'abort',
      }));
    const all = this.ended.length >= count ? this.ended : [...this.ended, ...rest].sort(byScore);
    return all.slice(0, count);
  }

  /** The likeliest continuations, likeliest first. */
  private candidates(visit: Visit, firstRow: number, length: number): Candidate[] {
    const k = candidatesOf(this.options);
    return this.running
      .flatMap((beam, parent) =>
        Array.from({ length: visit.finished[firstRow + parent] === 'none' ? 0 : k }, (_, i) => {
          const at = (firstRow + parent) * k + i;
          const token = visit.topTokens[at] ?? -1;
          return { beam, parent, token, logprob: beam.logprob + (visit.topLogProbs[at] ?? -Infinity) };
        }),
      )
      .filter(({ token, logprob }) => token >= 0 && Number.isFinite(logprob))
      .sort((a, b) => b.logprob - a.logprob || a.parent - b.parent || a.token - b.token)
      .slice(0, k)
      .map(({ beam, ...one }): Candidate => ({
        ...one,
        tokens: [...beam.tokens, one.token],
        text: this.options.stop.length === 0 ? '' : this.textAfter(beam, one.token, length),
      }));
  }

  /** Its time does not depend on the length: a decoder for the continuation of a beam reads only its last tokens. */
  private textAfter({ tokens, text }: Candidate, token: number, length: number): string {
    const decoder = this.prompt.decoder(tokens);
    const added = decoder.push(token) + (length === this.options.maxNewTokens ? decoder.end() : '');
    return text.slice(-this.longestStop) + added;
  }

  /** Why it ends with its last token, if it does. */
  private endingOf({ token, text }: Candidate): 'eos' | 'stop' | undefined {
    const { eosTokens, stopTokens, stop } = this.options;
    if (eosTokens.includes(token)) return 'eos';
    if (stopTokens.includes(token)) return 'stop';
    return stop.some((one) => text.includes(one)) ? 'stop' : undefined;
  }

  private end(hypothesis: Hypothesis, finishReason: Beam['finishReason'], length: number): void {
    const score = this.score(hypothesis.logprob, length);
    this.ended = [...this.ended, { ...hypothesis, score, finishReason }]
      .sort(byScore)
      .slice(0, this.options.numBeams);
  }

  private score(logprob: number, length: number): number {
    return logprob / length ** this.options.lengthPenalty;
  }

  /** Whether no open beam can become one of the best, by the rule of earlyStopping. */
  private isDone(length: number): boolean {
    const { numBeams, earlyStopping, lengthPenalty, maxNewTokens } = this.options;
    if (this.ended.length < numBeams) return false;
    if (earlyStopping === true) return true;
    const reach = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : length;
    const attainable = this.score(this.running[0]?.logprob ?? -Infinity, reach);
    return attainable <= (this.ended.at(-1)?.score ?? -Infinity);
  }
}

const byScore = (a: Beam, b: Beam): number => b.score - a.score;
