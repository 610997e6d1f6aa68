import { hashName, philox } from './philox';

/**
 * The next token of one row by the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014): the largest
 * logit / temperature + g with g = −log(−log u), or at temperature 0 the largest logit, ties to the lowest id.
 *
 * @returns the token and by how much it won, so that a test can leave out what rounding decides
 */
export function choose(
  logits: ArrayLike<number>,
  options: { temperature: number; seed: number; step: number; site: string },
): { token: number; margin: number } {
  const key = BigInt(options.seed) ^ hashName(options.site);
  let bits: number[] = [];
  let best = -Infinity;
  let second = -Infinity;
  let token = -1;
  for (let v = 0; v < logits.length; v++) {
    let score = logits[v]!;
    if (options.temperature > 0) {
      if (v % 4 === 0) bits = philox(key, [v / 4, 0, 0, options.step]);
      // 1 − u from the middle of the interval that 31 bits leave: never 0, never 1.
      const complement = ((bits[v % 4]! >>> 1) + 0.5) / 2 ** 31;
      score = score / options.temperature - Math.log(-Math.log1p(-complement));
    }
    if (score > best) {
      second = best;
      best = score;
      token = v;
    } else if (score > second) second = score;
  }
  return { token, margin: best - second };
}
