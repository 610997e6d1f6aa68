import type { Model } from '../models/model';
import type { NativeSession } from '../native';

export interface TokenStreamOptions {
  /** Tokens to choose. */
  readonly count: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Tokens that one visit to native code chooses: few at first, for a quick start, then more. */
const FIRST_VISIT = 8;
const LONGEST_VISIT = 32;

/**
 * Chooses the tokens that follow `prompt`, several at a time. A cache holds nPositions tokens; when it is full, or the
 * prompt is longer, a new one starts with the last half of that.
 */
export async function* chooseTokens(
  model: Model,
  prompt: readonly number[],
  { count, temperature, seed }: TokenStreamOptions,
): AsyncGenerator<Int32Array, void, void> {
  const capacity = model.config.nPositions;
  const half = Math.max(1, Math.floor(capacity / 2));
  let context = prompt.length > capacity ? prompt.slice(-half) : [...prompt];
  let chosen = 0;
  let visit = FIRST_VISIT;
  for (let cache = 0; chosen < count; cache++) {
    const session = await model.native.createSession({
      rows: 1,
      cache: capacity,
      temperatures: [temperature],
      seeds: [seedOf(seed, cache)],
    });
    try {
      let used = context.length;
      let tokens = await prefill(session, context);
      for (;;) {
        chosen += tokens.length;
        context.push(...tokens);
        yield tokens;
        const steps = Math.min(visit, capacity - used, count - chosen);
        if (steps === 0) break;
        tokens = await session.decode(steps);
        used += steps;
        visit = Math.min(LONGEST_VISIT, visit * 2);
      }
    } finally {
      session.dispose();
    }
    context = context.slice(-half);
  }
}

function prefill(session: NativeSession, context: readonly number[]): Promise<Int32Array> {
  return session.prefill(Int32Array.from(context), Int32Array.of(context.length));
}

/** Each cache draws random numbers of its own. */
function seedOf(seed: number, cache: number): number {
  return (seed + cache * 2_654_435_761) % Number.MAX_SAFE_INTEGER;
}
