import type { Model } from '../models/model';
import { TesseraeError } from '../errors';
import { prefill } from './draw';
import type { ResolvedOptions } from './options';
import type { FinishReason } from './sequence';
import type { Visit } from '../native';

/** A way to go on from one prompt. */
interface Hypothesis {
  /** New tokens. */
  readonly tokens: readonly number[];
  /** Sum of their log-probabilities. */
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
}

/** What there is when a search is aborted before it begins. */
const NOTHING: Beam = { tokens: [], logprob: 0, score: 0, finishReason: 'abort' };

/** A score that no beam that has begun comes near. */
const NEVER = -1e9;

/**
 * Beam search as Hugging Face's `generate` does it: numBeams hypotheses of each prompt go on side by side; those that
 * end are kept by score. All rows take the same number of steps.
 *
 * @param prompts - at least one token each.
 * @param isAborted - asked before the first step and after each.
 * @returns of each prompt its best numReturnSequences, the best first.
 * @throws TesseraeError `ERR_CONFIG` where a prompt and its new tokens are more than nPositions.
 */
export async function beamSearch(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: ResolvedOptions,
  isAborted: () => boolean,
): Promise<Beam[][]> {
  const { numBeams, maxNewTokens, numReturnSequences } = options;
  const { nPositions } = model.config;
  const longest = prompts.reduce((most, { length }) => Math.max(most, length), 0);
  if (longest + maxNewTokens - 1 > nPositions)
    throw new TesseraeError(
      'ERR_CONFIG',
      `beam search keeps whole sequences: a prompt of ${longest} tokens and maxNewTokens ${maxNewTokens} do not fit ` +
        `nPositions ${nPositions}`,
      { details: { path: 'maxNewTokens' } },
    );
  if (isAborted()) return prompts.map(() => Array<Beam>(numReturnSequences).fill(NOTHING));
  const searches = prompts.map(() => new Search(options));
  const rows = prompts.length * numBeams;
  const session = await model.native.createSession({
    rows,
    cache: nPositions,
    seeds: Array<number>(rows).fill(0),
    settings: Array(rows).fill({ ...options, temperature: 0, maxNewTokens: 10_000_000 }),
    features: { logProbs: candidatesOf(options) },
  });
  try {
    const contexts = prompts.flatMap((prompt) => Array<readonly number[]>(numBeams).fill(prompt));
    await prefill(session, contexts, nPositions);
    for (let length = 1; length <= maxNewTokens; length++) {
      const visit = await session.decode(1);
      if (visit.finished.includes('none'))
        throw new TesseraeError('ERR_DATA', 'no token can be chosen: no logit of the model is finite');
      const moves = searches.map((search, i) => search.step(visit, i * numBeams, length));
      if (isAborted() || searches.every(({ done }) => done)) break;
      const parents = moves.flatMap((beams, i) => beams.map(({ parent }) => i * numBeams + parent));
      const tokens = moves.flatMap((beams) => beams.map(({ token }) => token));
      await session.redirect(Int32Array.from(parents), Int32Array.from(tokens));
    }
  } finally {
    session.dispose();
  }
  return searches.map((search) => search.best(numReturnSequences));
}

/** Continuations of each beam that are looked at: enough for numBeams to go on when others end. */
function candidatesOf({ numBeams, eosTokens, stopTokens }: ResolvedOptions): number {
  return Math.max(2, 1 + eosTokens.length + stopTokens.length) * numBeams;
}

/** The beams of one prompt. */
class Search {
  done = false;
  private running: Candidate[];
  private ended: Beam[] = [];

  constructor(private readonly options: ResolvedOptions) {
    // All beams begin alike: but for the first, none may go on from there.
    this.running = Array.from({ length: options.numBeams }, (_, i) => ({
      tokens: [],
      logprob: i === 0 ? 0 : NEVER,
      parent: i,
      token: 0,
    }));
  }

  /** Takes the likeliest continuations of its rows; returns which rows go on, with which tokens. */
  step(visit: Visit, firstRow: number, length: number): readonly Candidate[] {
    const { numBeams, eosTokens, stopTokens, maxNewTokens } = this.options;
    const k = candidatesOf(this.options);
    const candidates = this.running
      .flatMap((beam, parent) =>
        Array.from({ length: k }, (_, i): Candidate => {
          const at = (firstRow + parent) * k + i;
          const token = visit.topTokens[at] ?? -1;
          const logprob = beam.logprob + (visit.topLogProbs[at] ?? -Infinity);
          return { tokens: [...beam.tokens, token], logprob, parent, token };
        }),
      )
      .filter(({ token }) => token >= 0)
      .sort((a, b) => b.logprob - a.logprob || a.parent - b.parent || a.token - b.token)
      .slice(0, k);
    const reasonOf = (token: number): Beam['finishReason'] | undefined =>
      eosTokens.includes(token) ? 'eos' : stopTokens.includes(token) ? 'stop' : undefined;
    if (!this.done) {
      // Only those among the numBeams likeliest may end.
      candidates.slice(0, numBeams).forEach((candidate) => {
        const finishReason = reasonOf(candidate.token) ?? (length === maxNewTokens ? 'length' : undefined);
        if (finishReason && candidate.logprob > NEVER / 2) this.end(candidate, finishReason, length);
      });
    }
    const going = candidates.filter(({ token }) => reasonOf(token) === undefined).slice(0, numBeams);
    // A vocabulary may have too few tokens that do not end: the last beam goes on more than once, never to win.
    while (going.length < numBeams)
      going.push({ ...(going.at(-1) ?? { tokens: [], parent: 0, token: 0 }), logprob: NEVER });
    this.running = going;
    this.done ||= this.isDone(length);
    return going;
  }

  best(count: number): Beam[] {
    const rest = this.running
      .filter(({ logprob, tokens }) => logprob > NEVER / 2 && tokens.length > 0)
      .map((beam): Beam => ({
        ...beam,
        score: this.score(beam.logprob, beam.tokens.length),
        finishReason: beam.tokens.length === this.options.maxNewTokens ? 'length' : 'abort',
      }));
    const all = this.ended.length >= count ? this.ended : [...this.ended, ...rest].sort(byScore);
    return all.slice(0, count);
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

  /** Whether no beam that still goes on can come among the best, by the rule that earlyStopping names. */
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
