import { TesseraeError } from '../errors';
import type { Model } from '../models/model';
import { MOST_VISIT, type NativeSession } from '../native';
import { biasOf, maskWords, sessionOptions, setsOf, typeTables } from './constraints';
import type { MaskedSequence, ResolvedOptions } from './options';
import type { Sequence } from './sequence';

/** Tokens of the first visit to native code, for a quick start. */
const FIRST_VISIT = 8;
/** Visits grow while they take less than this, in milliseconds: an AbortSignal is heard between them. */
const SHORT_VISIT = 30;
/** Prompts are padded to this times a power of two, so that many lengths share few programs. */
const SHORTEST_PROMPT = 16;

/**
 * Generates sequences side by side, until each has a finishReason; yields after each visit to native code. A cache holds
 * nPositions tokens: a sequence that has filled it, or whose prompt is longer, goes on in a new one with the last half
 * of that.
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
  const { nPositions: capacity, vocabSize } = model.config;
  const half = Math.max(1, Math.floor(capacity / 2));
  // A row that filled its cache has as many positions as that, and one token that found no place.
  const contexts = sequences.map(({ tokens }) => (tokens.length > capacity ? tokens.slice(-half) : tokens));
  const offsets = sequences.map(({ tokens }, row) => tokens.length - (contexts[row]?.length ?? 0));
  const rows = sequences.length;
  const bias = biasOf(options, vocabSize);
  const types = typeTables(
    options,
    vocabSize,
    capacity,
    sequences.map(({ tokens, generated }, row) => ({
      context: contexts[row] ?? [],
      offset: offsets[row] ?? 0,
      // The last new token is never read.
      last: tokens.length - generated.length + options.maxNewTokens - 1,
    })),
  );
  const session = await model.native.createSession({
    rows,
    cache: capacity,
    seeds: sequences.map(({ seed }) => seed),
    drawn: sequences.map(({ generated }) => generated.length),
    settings: sequences.map(() => options),
    ...sessionOptions(options, vocabSize),
    arrays: { ...(bias ? { bias } : {}), ...types.arrays, ...setsOf(options, vocabSize, capacity, offsets) },
  });
  try {
    await prefill(session, contexts, capacity, types.prompt);
    let steps = options.tokenMask ? 1 : FIRST_VISIT;
    for (;;) {
      const started = performance.now();
      const mask = options.tokenMask
        ? await maskOf(session, sequences, options.tokenMask, vocabSize)
        : undefined;
      const most = sequences.reduce(
        (left, { finishReason, generated }) =>
          finishReason === undefined ? Math.max(left, options.maxNewTokens - generated.length) : left,
        1,
      );
      const visit = await session.decode(Math.min(steps, most), mask);
      sequences.forEach((sequence, row) => {
        sequence.take(visit, row, rows);
        if (visit.finished[row] === 'none' && sequence.finishReason === undefined)
          throw noToken(sequence, row);
      });
      yield undefined;
      const open = sequences.some(
        ({ finishReason }, row) => finishReason === undefined && visit.finished[row] === 'running',
      );
      if (!open) return;
      if (!options.tokenMask && performance.now() - started < SHORT_VISIT)
        steps = Math.min(MOST_VISIT, steps * 2);
    }
  } finally {
    session.dispose();
  }
}

function noToken({ prompt, sequence }: Sequence, row: number): TesseraeError {
  return new TesseraeError(
    'ERR_DATA',
    `row ${row} (prompt ${prompt}, sequence ${sequence}): no token can be chosen: the options allow none, or no logit of ` +
      'those is finite',
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

/** Asks for the mask while the model computes what it will be laid over. */
async function maskOf(
  session: NativeSession,
  sequences: readonly Sequence[],
  tokenMask: (batch: readonly MaskedSequence[]) => Uint32Array,
  vocabSize: number,
): Promise<Uint32Array> {
  const forward = session.forward();
  let mask: unknown;
  try {
    mask = tokenMask(sequences);
  } finally {
    await forward;
  }
  const words = maskWords(vocabSize);
  const wanted = sequences.length * words;
  if (!(mask instanceof Uint32Array) || mask.length !== wanted)
    throw new TesseraeError(
      'ERR_DATA',
      `tokenMask must return a Uint32Array of ${wanted} words, ${words} for each of ${sequences.length} sequences` +
        (mask instanceof Uint32Array ? `, not of ${mask.length}` : ''),
    );
  sequences.forEach((sequence, row) => {
    if (sequence.finishReason !== undefined) return;
    if (allows(mask.subarray(row * words, (row + 1) * words), vocabSize)) return;
    throw new TesseraeError(
      'ERR_DATA',
      `tokenMask allows no token to row ${row} (prompt ${sequence.prompt}, sequence ${sequence.sequence}): ` +
        'set at least one of its bits',
      { details: { row } },
    );
  });
  return mask;
}

function allows(words: Uint32Array, vocabSize: number): boolean {
  const last = words.length - 1;
  const rest = vocabSize % 32;
  const used = rest === 0 ? 0xffffffff : 2 ** rest - 1;
  return words.some((word, i) => (i === last ? (word & used) !== 0 : word !== 0));
}
