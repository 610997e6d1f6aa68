import type { NativeModel, NativeSession, SamplingSettings, SessionOptions } from '../../../lib/native';

/** Settings that change nothing, but for those given. */
export const settingsOf = (settings: Partial<SamplingSettings> = {}): SamplingSettings => ({
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  noRepeatNgramSize: 0,
  minNewTokens: 0,
  maxNewTokens: 10_000_000,
  ...settings,
});

/** A session with a row for each temperature. */
export function sessionOf(
  model: NativeModel,
  temperatures: readonly number[],
  options: Partial<SessionOptions> = {},
): Promise<NativeSession> {
  return model.createSession({
    rows: temperatures.length,
    cache: 24,
    seeds: temperatures.map((_, row) => row),
    settings: temperatures.map((temperature) => settingsOf({ temperature })),
    ...options,
  });
}

/** Prompts in prefill's capacity: rows of the longest length, with any id after a shorter row. */
export function padded(
  prompts: readonly (readonly number[])[],
  filler = 7,
): [tokens: Int32Array, lengths: Int32Array] {
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const rows = prompts.map((prompt) => [...prompt, ...Array<number>(longest - prompt.length).fill(filler)]);
  return [Int32Array.from(rows.flat()), Int32Array.from(prompts, (prompt) => prompt.length)];
}
