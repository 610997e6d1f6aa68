import { TesseraeError } from '../errors';
import type { Model } from '../models/model';
import { MOST_VISIT, type NativeSession } from '../native';
import { hasLongMemory, sessionInputs, type RowContext } from './constraints';
import { maskOf, Repeats } from './masks';
import type { ResolvedOptions } from './options';
import type { Sequence } from './sequence';

/** Tokens of the first visit to native code, for a quick start. */
const FIRST_VISIT = 8;
/** Visits grow while they take less than this, in milliseconds, because an AbortSignal is checked between them. */
const SHORT_VISIT = 30;
/** Prompts are padded to this times a power of two, so that many lengths share few programs. */
const SHORTEST_PROMPT = 16;

/**
 * Generates sequences side by side until each has a finishReason; yields after each visit to native code. A cache holds
 * nPositions tokens. A sequence that fills it, or whose prompt is longer, continues in a new cache from its last
 * nPositions / 2 tokens.
 */
export async function* draw(
  model: Model,
  sequences: readonly Sequence[],
  options: ResolvedOptions,
): AsyncGenerator<undefined, void, void> {
  for (;;) {
    const running = sequences.filter(({ finishReason }) => finishReason === undefined);
    if (running.length === 0) return;
    yield* fillCache(model, running, options);
  }
}

/** One session: until every sequence has ended or filled its cache. */
async function* fillCache(
  model: Model,
  sequences: readonly Sequence[],
  options: ResolvedOptions,
): AsyncGenerator<undefined, void, void> {
  const settings = model.tokens('sampling');
  const { nPositions: capacity } = settings;
  const half = Math.max(1, Math.floor(capacity / 2));
  // A row that filled its cache has one more token than the cache has positions.
  const rows = sequences.map(({ tokens, generated }): RowContext => ({
    tokens,
    context: tokens.length > capacity ? tokens.slice(-half) : tokens,
    // The last new token is never read.
    last: tokens.length - generated.length + options.maxNewTokens - 1,
  }));
  const { promptTypes, ...inputs } = sessionInputs(options, settings, rows);
  const repeats = hasLongMemory(options, rows)
    ? sequences.map(({ tokens }) => new Repeats(tokens, options.noRepeatNgramSize))
    : undefined;
  const rules = {
    ...options,
    ...(repeats ? { banned: (row: number) => repeats[row]?.next() ?? [] } : {}),
    isOpen: (row: number) => sequences[row]?.finishReason === undefined,
  };
  const session = await model.native.createSession({
    rows: rows.length,
    cache: capacity,
    seeds: sequences.map(({ stream }) => stream.seed),
    sequences: sequences.map(({ stream }) => stream.sequence),
    drawn: sequences.map(({ generated }) => generated.length),
    settings: sequences.map(() => options),
    ...inputs,
  });
  try {
    const contexts = rows.map(({ context }) => context);
    await prefill(session, contexts, capacity, promptTypes);
    const { mask: isMasked = false } = inputs.features;
    let steps = isMasked ? 1 : FIRST_VISIT;
    for (;;) {
      const started = performance.now();
      const mask = isMasked ? await maskOf(session, sequences, rules) : undefined;
      const most = sequences.reduce(
        (left, { finishReason, generated }) =>
          finishReason === undefined ? Math.max(left, options.maxNewTokens - generated.length) : left,
        1,
      );
      const visit = await session.decode(Math.min(steps, most), mask);
      sequences.forEach((sequence, row) => {
        sequence.take(visit, row, rows.length);
        if (visit.finished[row] === 'none' && sequence.finishReason === undefined)
          throw noToken(sequence, row);
      });
      yield undefined;
      const open = sequences.some(
        ({ finishReason }, row) => finishReason === undefined && visit.finished[row] === 'running',
      );
      if (!open) return;
      if (!isMasked && performance.now() - started < SHORT_VISIT) steps = Math.min(MOST_VISIT, steps * 2);
    }
  } finally {
    session.dispose();
  }
}

function noToken({ prompt, sequence }: Sequence, row: number): TesseraeError {
  return new TesseraeError(
    'ERR_DATA',
    `row ${row} (prompt ${prompt}, sequence ${sequence}): no token can be chosen: the options allow none, or no allowed ` +
      'token has a finite logit',
    { details: { row } },
  );
}

/** Reads prompts, padded to a length that many share. */
export async function prefill(
  session: NativeSession,
  contexts: readonly (readonly number[])[],
  capacity: number,
  types: (time: number) => Readonly<Record<string, Int32Array>> = () => ({}),
): Promise<void> {
  const longest = contexts.reduce((most, { length }) => Math.max(most, length), 0);
  let time = SHORTEST_PROMPT;
  while (time < longest) time *= 2;
  time = Math.min(time, capacity);
  const tokens = new Int32Array(contexts.length * time);
  contexts.forEach((context, row) => {
    tokens.set(context, row * time);
  });
  await session.prefill(
    tokens,
    Int32Array.from(contexts, ({ length }) => length),
    types(time),
  );
}
