/** What the options of sampling do to logits, in fp64 and by sorting: the meaning of Hugging Face's logits processors. */

export interface ScoreOptions {
  /** Of the new token, counted from 0: the tokens before it. */
  readonly tokens: readonly number[];
  /** How many of them are the prompt's. */
  readonly promptLength: number;
  readonly bias?: ReadonlyMap<number, number>;
  readonly allowed?: ReadonlySet<number>;
  /** Tokens that end a row, before minNewTokens. */
  readonly stops?: readonly number[];
  readonly minNewTokens?: number;
  readonly repetitionPenalty?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly noRepeatNgramSize?: number;
}

export function scores(logits: ArrayLike<number>, options: ScoreOptions): number[] {
  const { tokens, promptLength, bias, allowed, stops = [], minNewTokens = 0 } = options;
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, noRepeatNgramSize = 0 } = options;
  const result = Array.from(logits, (logit, id) => logit + (bias?.get(id) ?? 0));
  result.forEach((_, id) => {
    if (allowed && !allowed.has(id)) result[id] = -Infinity;
    if (tokens.length - promptLength < minNewTokens && stops.includes(id)) result[id] = -Infinity;
  });
  for (const id of new Set(tokens)) {
    const score = result[id]!;
    const repeated = score < 0 ? score * repetitionPenalty : score / repetitionPenalty;
    const drawn = tokens.slice(promptLength).filter((token) => token === id).length;
    result[id] = repeated - frequencyPenalty * drawn - (drawn > 0 ? presencePenalty : 0);
  }
  const n = noRepeatNgramSize;
  if (n > 0 && tokens.length + 1 >= n) {
    const start = tokens.slice(tokens.length - (n - 1)).join();
    for (let at = 0; at + n <= tokens.length; at++)
      if (n === 1 || tokens.slice(at, at + n - 1).join() === start) result[tokens[at + n - 1]!] = -Infinity;
  }
  return result;
}

export interface FilterOptions {
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
}

/**
 * Scores with −∞ for what topK, topP and minP drop; equal scores stay or go together.
 *
 * @returns the scores, and how near the nearest probability came to a limit, so that a test can leave out what rounding
 * decides.
 */
export function filtered(
  from: readonly number[],
  { temperature, topK = 0, topP = 1, minP = 0 }: FilterOptions,
): { scores: number[]; margin: number } {
  if (temperature === 0) return { scores: [...from], margin: Infinity };
  let margin = Infinity;
  const near = (value: number, limit: number): void => {
    margin = Math.min(margin, Math.abs(value - limit));
  };
  let kept = [...from];
  const drop = (isDropped: (score: number) => boolean): void => {
    kept = kept.map((score) => (isDropped(score) ? -Infinity : score));
  };
  const descending = (): number[] => kept.filter((score) => score > -Infinity).sort((a, b) => b - a);
  const probabilities = (): number[] => {
    const sorted = descending();
    const weights = sorted.map((score) => Math.exp((score - sorted[0]!) / temperature));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => weight / total);
  };
  if (topK > 0) {
    const sorted = descending();
    const least = sorted[Math.min(topK, sorted.length) - 1]!;
    drop((score) => score < least);
  }
  if (topP < 1) {
    const sorted = descending();
    let above = 0;
    let least = sorted[0]!;
    for (const [i, p] of probabilities().entries()) {
      // Before the first of equal ones.
      if (i === 0 || sorted[i]! < sorted[i - 1]!) {
        if (i > 0) near(above, topP);
        if (above < topP) least = sorted[i]!;
      }
      above += p;
    }
    drop((score) => score < least);
  }
  if (minP > 0) {
    const most = Math.max(...kept);
    for (const score of descending()) near(Math.exp((score - most) / temperature) / minP, 1);
    drop((score) => Math.exp((score - most) / temperature) < minP);
  }
  return { scores: kept, margin };
}
