/** Beam search as transformers 5 writes it (`GenerationMixin._beam_search`), for one prompt, in fp64 and without a cache. */

export interface BeamSearchCase {
  readonly prompt: readonly number[];
  readonly numBeams: number;
  readonly maxNewTokens: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | 'never';
  /** Tokens that end a sequence. */
  readonly ends: readonly number[];
  /** Log-probabilities of the token after these. */
  readonly logProbs: (tokens: readonly number[]) => Promise<ArrayLike<number>>;
  /** What the logits processors make of them; `tokens` has the prompt. */
  readonly process: (logProbs: ArrayLike<number>, tokens: readonly number[]) => readonly number[];
  /** Whether the new tokens have a stop text. */
  readonly hasStop?: (tokens: readonly number[]) => boolean;
}

interface Beam {
  readonly tokens: readonly number[];
  readonly score: number;
}

const NEVER = -1e9;

const top = <T extends { readonly score: number }>(beams: readonly T[], count: number): T[] =>
  [...beams].sort((a, b) => b.score - a.score).slice(0, count);

/** The finished sequences, new tokens alone, the best first; those that never were one are left out. */
export async function beamSearch(one: BeamSearchCase): Promise<Beam[]> {
  const { prompt, numBeams, maxNewTokens, lengthPenalty, earlyStopping, ends } = one;
  let running: Beam[] = Array.from({ length: numBeams }, (_, i) => ({
    tokens: [],
    score: i === 0 ? 0 : NEVER,
  }));
  let finished: Beam[] = [];
  let canImprove = true;
  for (let length = 1; length <= maxNewTokens; length++) {
    const all: Beam[] = [];
    for (const { tokens, score } of running) {
      const whole = [...prompt, ...tokens];
      one.process(await one.logProbs(whole), whole).forEach((logProb, token) => {
        all.push({ tokens: [...tokens, token], score: score + logProb });
      });
    }
    const candidates = top(all, Math.max(2, 1 + ends.length) * numBeams);
    const hits = candidates.map(
      ({ tokens }) =>
        length === maxNewTokens || ends.includes(tokens.at(-1)!) || one.hasStop?.(tokens) === true,
    );
    running = top(
      candidates.map(({ tokens, score }, i) => ({ tokens, score: score + (hits[i] ? NEVER : 0) })),
      numBeams,
    );
    const isFull = finished.length === numBeams && earlyStopping === true;
    const ended = candidates
      .filter((_, i) => hits[i] && i < numBeams && !isFull && canImprove)
      .map(({ tokens, score }) => ({ tokens, score: score / length ** lengthPenalty }))
      .filter(({ score }) => score > NEVER / 1e3);
    finished = top([...finished, ...ended], numBeams);
    const reach = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : length;
    const worst = finished.length === numBeams ? finished.at(-1)!.score : -Infinity;
    canImprove &&= running[0]!.score / reach ** lengthPenalty > worst;
    const isOpen = !(finished.length === numBeams && earlyStopping === true);
    if (!canImprove || !isOpen || hits.every(Boolean)) break;
  }
  return finished;
}
