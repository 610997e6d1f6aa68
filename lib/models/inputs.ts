/**
 * Turns rows of token ids into the arrays that a program takes: checked, padded to its capacity, targets shifted.
 */
import { types } from 'node:util';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import type { Graph } from '../graph/graph';
import type { Capacity, InputArray } from '../native';
import { boundedLength, isDetached, MOST_ENTRIES, reading, readList } from './array_likes';
import { Capacities } from './capacities';
import { isExamples, packExamples, type ExampleBatch } from './example_rows';
import { lengthLimits, requireTokens, type ResolvedModelConfig } from './families';
import type { TokenSettings } from './family';
import { startsOf } from './document_starts';
import { completePacked, isPacked, lengthsInputs, type PackedBatch, type ReadyBatch } from './packed_batch';
import { settings } from './settings';
import { parseConfig, show } from './validation';

export type { Capacity };

/** One integer a token of a row. */
export type TokenValues = readonly number[] | Int32Array;

/** Integers of one row. */
type Row = TokenValues;

/**
 * Ids by row: an array of rows, or one Int32Array that holds rows of equal length one after the other (`rows` of the
 * batch says how many, one by default).
 */
export type TokenRows = Int32Array | readonly TokenValues[];

/** Additional inputs of some models, in the same form as the tokens. */
export interface ExtraInputs {
  /** Type of each token, in [0, nTypes); only for models with nTypes. */
  readonly types?: TokenRows;
  /** Subtype of each token, in [0, nStypes); only for models with nStypes. */
  readonly subtypes?: TokenRows;
}

/** Sequences to train on. Rows may differ in length: they are padded, and padding has no loss. */
export interface TrainingBatch extends ExtraInputs {
  /** Token ids in [0, vocabSize). */
  readonly tokens: TokenRows;
  /**
   * The target of each position, in the form of the tokens; the model's ignoreIndex means no loss. Default for a model that
   * predicts the next token: the tokens shifted by one, with no loss at a row's last position.
   */
  readonly targets?: TokenRows;
  /** Number of tokens to use from the start of each row. Default: all. */
  readonly lengths?: Int32Array | readonly number[];
  /**
   * Packed rows: for each row the ascending positions where documents start; the first is 0. No token sees
   * another document, positions count from a document's start, and default targets have no loss at a document's last
   * position. Default: each row is one document.
   */
  readonly documentStarts?: readonly TokenValues[];
  /** Number of rows in a flat Int32Array. Default 1. */
  readonly rows?: number;
}

const extraFields = { types: z.unknown().optional(), subtypes: z.unknown().optional() };

/** The fields of ExtraInputs, not validated yet. */
export const extraInputsSchema = z.strictObject(extraFields);

/** Those of a batch. */
const batchSchema = z
  .strictObject({
    ...extraFields,
    tokens: z.unknown().optional(),
    targets: z.unknown().optional(),
    lengths: z.unknown().optional(),
    documentStarts: z.unknown().optional(),
    rows: z.unknown().optional(),
    capacity: z.unknown().optional(),
  })
  .register(settings, { synonyms: { inputIds: 'tokens', labels: 'targets', tokenTypeIds: 'types' } });

/** A batch for a trainer: rows of tokens, examples for inputs of any kind, or an already packed batch. */
export type StepBatch = TrainingBatch | ExampleBatch | PackedBatch;

/** What packing needs to know about a model. */
export interface InputContract {
  readonly graph: Graph;
  readonly config: ResolvedModelConfig;
}

/**
 * Packs a batch for `model`. If it is packed already, only completes it.
 *
 * @param options.targets - whether the program reads targets.
 * @param options.capacity - the program's, or those to choose from; default: the batch's rows, and its longest row
 * rounded up to a multiple of 32, at most nPositions. That of the result has `documents` if this or the batch has.
 * @throws TesseraeError `ERR_DATA` for an empty batch or row, a row that is too long, ids that are not integers, inputs
 * that are missing or that the model does not have, document starts that do not ascend from 0, arrays that can't be read;
 * `ERR_SHAPE` for inputs that do not fit the tokens; `ERR_CONFIG` for a field that batches don't have.
 */
export function packBatch(
  model: InputContract,
  given: StepBatch,
  options: { targets: boolean; capacity?: Capacity | Capacities },
): ReadyBatch {
  const whole = 'the batch';
  const code = 'ERR_DATA';
  const rules = { whole, unreadable: code } as const;
  return reading({ name: whole, code }, () => {
    if (isPacked(given)) {
      const { capacity } = options;
      const fixed = capacity instanceof Capacities ? undefined : capacity;
      return completePacked(model.graph, given, fixed ?? given.capacity);
    }
    if (isExamples(given)) return packExamples(model.graph, lengthLimits(model.config), given, options);
    const settings = requireTokens(model.config, 'a batch of tokens');
    const batch = parseConfig(batchSchema, given, rules) as unknown as TrainingBatch;
    return pack(model.graph, settings, batch, options);
  });
}

function pack(
  graph: Graph,
  { nPositions, isEncoder }: TokenSettings,
  batch: TrainingBatch,
  options: { targets: boolean; capacity?: Capacity | Capacities },
): ReadyBatch {
  const tokens = tokenRows(batch, nPositions);
  const lengths = tokens.map((row) => row.length);
  const longest = lengths.reduce((a, b) => Math.max(a, b), 0);
  const documents = batch.documentStarts && documentRows(graph, batch.documentStarts, lengths);
  const given = options.capacity ?? new Capacities({ time: nPositions });
  const packed = documents ? { documents: true } : {};
  const capacity =
    given instanceof Capacities
      ? given.holding({ rows: lengths.length, lengths: { time: longest }, ...packed })
      : { ...given, ...packed };
  if (tokens.length > capacity.rows || longest > timeOf(capacity))
    throw new TesseraeError(
      'ERR_SHAPE',
      `a batch of ${tokens.length} rows of up to ${longest} tokens does not fit ${capacity.rows} rows of ` +
        `${timeOf(capacity)} tokens`,
    );
  const inputs: Record<string, InputArray> = {
    tokens: fill(batch.tokens, tokens, capacity, 0, 'tokens'),
  };
  for (const name of ['types', 'subtypes'] as const) {
    const given = batch[name];
    const wanted = graph.inputs.some((input) => input.name === name);
    if (wanted !== (given !== undefined)) throw extraInputError(name, wanted);
    if (given) inputs[name] = fill(given, alike(given, batch, lengths, name), capacity, 0, name);
  }
  Object.assign(inputs, lengthsInputs(graph, new Map([['time', lengths]]), capacity));
  if (capacity.documents) inputs['starts'] = startsOf(documents, lengths, capacity);
  if (options.targets)
    inputs['targets'] = targetsOf({ graph, isEncoder }, batch, tokens, documents, capacity);
  return { capacity, rows: capacity.rows, inputs, lengths };
}

const timeOf = ({ lengths }: Capacity): number => lengths['time'] ?? 1;

function ignoredTarget(graph: Graph): number {
  const targets = graph.inputs.find((input) => input.name === 'targets');
  return (targets?.kind === 'ids' ? targets.ignored : undefined) ?? -100;
}

function tokenRows(batch: TrainingBatch, nPositions: number): Row[] {
  let rows = split(batch.tokens, batch.rows, 'tokens');
  if (rows.length === 0)
    throw new TesseraeError('ERR_DATA', 'the batch is empty: give at least one row of tokens');
  const { lengths } = batch;
  if (lengths) {
    if (boundedLength(lengths, { name: 'lengths', code: 'ERR_DATA', most: MOST_ENTRIES }) !== rows.length)
      throw new TesseraeError(
        'ERR_SHAPE',
        `lengths has ${lengths.length} entries for ${rows.length} rows: give one for each row`,
      );
    rows = rows.map((row, r) => {
      const length = lengths[r] ?? 0;
      if (!Number.isInteger(length) || length < 1 || length > row.length)
        throw new TesseraeError(
          'ERR_DATA',
          `lengths[${r}] is ${show(length)}: it must be an integer from 1 to the row's ${row.length} tokens`,
          { details: { row: r } },
        );
      return head(row, length);
    });
  }
  rows.forEach((row, r) => {
    if (row.length === 0)
      throw new TesseraeError('ERR_DATA', `row ${r} of tokens is empty: leave it out`, {
        details: { row: r },
      });
    if (row.length > nPositions)
      throw new TesseraeError(
        'ERR_DATA',
        `row ${r} has ${row.length} tokens, more than the model's nPositions ${nPositions}: cut it, or train a model ` +
          `with a larger nPositions`,
        { details: { row: r } },
      );
  });
  return rows;
}

function split(value: TokenRows, rows: number | undefined, name: string): Row[] {
  const rules = { name, code: 'ERR_DATA', most: MOST_ENTRIES } as const;
  if (!types.isInt32Array(value)) {
    const message = `${name} must be an Int32Array or an array of rows, each an array of integers or an Int32Array`;
    if (!Array.isArray(value)) throw new TesseraeError('ERR_DATA', message);
    const list = readList(value, rules, (row, r) => {
      if (!isRow(row)) throw new TesseraeError('ERR_DATA', message);
      requireAttached(row, `${name}[${r}]`);
      return row;
    });
    if (rows !== undefined && rows !== list.length)
      throw new TesseraeError('ERR_SHAPE', `${name} has ${list.length} rows, but rows says ${show(rows)}`);
    return list;
  }
  requireAttached(value, name);
  const count = rows ?? 1;
  if (!Number.isInteger(count) || count < 1 || value.length % count !== 0)
    throw new TesseraeError(
      'ERR_SHAPE',
      `${name} has ${value.length} values, which are not ${show(count)} rows of equal length`,
    );
  const time = value.length / count;
  return Array.from({ length: count }, (_, r) => value.subarray(r * time, (r + 1) * time));
}

function isRow(value: unknown): value is Row {
  return Array.isArray(value) || types.isInt32Array(value);
}

function requireAttached(row: Row, name: string): void {
  if (isDetached(row)) boundedLength(row, { name, code: 'ERR_DATA', most: MOST_ENTRIES });
}

function head(row: Row, length: number): Row {
  if (row.length === length) return row;
  return types.isInt32Array(row) ? row.subarray(0, length) : row.slice(0, length);
}

/** Rows of an input beside the tokens, cut to the tokens' lengths. */
function alike(value: TokenRows, batch: TrainingBatch, lengths: readonly number[], name: string): Row[] {
  const rows = split(value, types.isInt32Array(value) ? (batch.rows ?? 1) : undefined, name);
  if (rows.length !== lengths.length)
    throw new TesseraeError('ERR_SHAPE', `${name} has ${rows.length} rows, but tokens has ${lengths.length}`);
  return rows.map((row, r) => {
    const length = lengths[r] ?? 0;
    if (batch.lengths ? row.length < length : row.length !== length)
      throw new TesseraeError(
        'ERR_SHAPE',
        `row ${r} of ${name} has ${row.length} values, but row ${r} of tokens has ${length}`,
        { details: { row: r } },
      );
    return head(row, length);
  });
}

function targetsOf(
  { graph, isEncoder }: { readonly graph: Graph; readonly isEncoder: boolean },
  batch: TrainingBatch,
  tokens: readonly Row[],
  documents: readonly Row[] | undefined,
  capacity: Capacity,
): Int32Array {
  const ignored = ignoredTarget(graph);
  if (batch.targets) {
    const lengths = tokens.map((row) => row.length);
    const rows = alike(batch.targets, batch, lengths, 'targets');
    return fill(batch.targets, rows, capacity, ignored, 'targets');
  }
  if (isEncoder)
    throw new TesseraeError(
      'ERR_DATA',
      `targets are missing: an encoder (isEncoder) needs a target for each position, and ${ignored} where ` +
        `there is no loss`,
      { details: { input: 'targets' } },
    );
  const shifted = tokens.map((row) => (types.isInt32Array(row) ? row.subarray(1) : row.slice(1)));
  const targets = fill(undefined, shifted, capacity, ignored, 'targets');
  documents?.forEach((starts, r) => {
    for (const start of starts.slice(1)) targets[r * timeOf(capacity) + start - 1] = ignored;
  });
  return targets;
}

/** The document starts of a batch, checked against the tokens' lengths. */
function documentRows(graph: Graph, value: unknown, lengths: readonly number[]): readonly Row[] {
  if (!graph.inputs.some(({ name }) => name === 'starts'))
    throw new TesseraeError(
      'ERR_DATA',
      'documentStarts are given, but the model does not keep documents of a row apart: leave them out',
      { details: { input: 'documentStarts' } },
    );
  const message = 'documentStarts must be an array with one array of integers or Int32Array per row';
  if (!Array.isArray(value)) throw new TesseraeError('ERR_DATA', message);
  const rules = { name: 'documentStarts', code: 'ERR_DATA', most: MOST_ENTRIES } as const;
  const rows = readList(value, rules, (starts, r) => {
    if (!isRow(starts)) throw new TesseraeError('ERR_DATA', message);
    requireAttached(starts, `documentStarts[${r}]`);
    return starts;
  });
  if (rows.length !== lengths.length)
    throw new TesseraeError(
      'ERR_SHAPE',
      `documentStarts has ${rows.length} entries for ${lengths.length} rows: give one for each row`,
    );
  rows.forEach((starts, r) => {
    if (starts.length === 0)
      throw new TesseraeError(
        'ERR_DATA',
        `documentStarts[${r}] is empty: a row's first document starts at 0`,
        {
          details: { row: r },
        },
      );
    const length = lengths[r] ?? 0;
    let before = -1;
    for (const [i, start] of starts.entries()) {
      const right = i === 0 ? start === 0 : Number.isInteger(start) && start > before && start < length;
      if (!right)
        throw new TesseraeError(
          'ERR_DATA',
          `documentStarts[${r}][${i}] is ${show(start)}: ` +
            (i === 0
              ? "a row's first document starts at 0"
              : `it must be an integer above ${before}, where the document before starts, and below ${length}, the ` +
                `row's tokens`),
          { details: { row: r } },
        );
      before = start;
    }
  });
  return rows;
}

/**
 * Rows one after the other, each padded to the capacity. Always a copy: the caller may write to its arrays again before the
 * device reads these. It takes 65 µs for 32 rows of 1,024 tokens.
 */
function fill(
  source: TokenRows | undefined,
  rows: readonly Row[],
  capacity: Capacity,
  padding: number,
  name: string,
): Int32Array {
  const count = capacity.rows;
  const time = timeOf(capacity);
  if (types.isInt32Array(source) && rows.length === count && rows.every((row) => row.length === time))
    return source.slice();
  const into = new Int32Array(count * time);
  if (padding !== 0) into.fill(padding);
  rows.forEach((row, r) => {
    if (types.isInt32Array(row)) into.set(row, r * time);
    else copyIntegers(row, into.subarray(r * time), r, name);
  });
  return into;
}

/** Copies a row of numbers and checks them: an Int32Array would silently turn 1.5 into 1 and NaN into 0. */
function copyIntegers(row: readonly unknown[], into: Int32Array, r: number, name: string): void {
  for (let i = 0; i < row.length; i++) {
    const value = row[i];
    if (typeof value !== 'number' || (value | 0) !== value)
      throw new TesseraeError(
        'ERR_DATA',
        `${name}[${r}][${i}] is ${show(value)}: it must be an integer of 32 bits`,
        { details: { row: r, position: i } },
      );
    into[i] = value;
  }
}

function extraInputError(name: 'types' | 'subtypes', wanted: boolean): TesseraeError {
  const setting = name === 'types' ? 'nTypes' : 'nStypes';
  return new TesseraeError(
    'ERR_DATA',
    wanted
      ? `${name} are missing: the model has ${setting}, so every token needs one`
      : `${name} are given, but the model has none: leave them out, or create it with ${setting}`,
    { details: { input: name } },
  );
}
