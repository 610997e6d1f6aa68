/** Batches in the layout of programs. */
import { isDeepStrictEqual, types } from 'node:util';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import type { Graph } from '../graph/graph';
import type { Batch, Capacity, InputArray } from '../native';
import { boundedLength, isDetached, MOST_ENTRIES, readList } from './array_likes';
import { capacityText } from './capacities';
import { parseConfig, show } from './validation';

export type { InputArray };

/**
 * A batch in the layout of the model's program. Data workers make such batches. JavaScript's thread neither copies nor reads
 * them; the device's thread checks ids.
 */
export interface PackedBatch {
  /**
   * The rows and positions of the compiled program. Use at most eight capacities, because each needs a program, and the same
   * one for all batches of a step. Set `documents` if, and only if, there is an input `starts`.
   */
  readonly capacity: Capacity;
  /** Number of rows in the arrays, at most that of the capacity. Missing rows are padded, which copies the arrays. */
  readonly rows: number;
  /** Number of tokens of each row with a sample, from the first row on; later rows are padding. Default: full rows. */
  readonly lengths?: Int32Array | readonly number[];
  /**
   * The values of each input of the Graph, row after row: (rows, time) for tokens and targets. The Graph decides the type: an
   * Int32Array for int32, a Float32Array for float32, a Uint8Array for uint8. Padding is the model's ignoreIndex in targets, and
   * 0 elsewhere.
   */
  readonly inputs: Readonly<Record<string, InputArray>>;
}

/** What a step or an evaluation reads: the arrays have all rows of the capacity. */
export interface ReadyBatch extends PackedBatch {
  readonly lengths: Int32Array | readonly number[];
}

const MOST = 2 ** 24;
const schema = z.strictObject({
  capacity: z.strictObject({
    rows: z.int().min(1).max(MOST),
    lengths: z.record(z.string(), z.int().min(1).max(MOST)),
    documents: z.boolean().optional(),
  }),
  rows: z.int().min(1).max(MOST),
  lengths: z.unknown().optional(),
  inputs: z.record(z.string(), z.unknown()),
});

/** Whether a batch is packed. */
export const isPacked = (batch: unknown): batch is PackedBatch =>
  typeof batch === 'object' && batch !== null && 'inputs' in batch;

/**
 * Pads a packed batch to the rows of its capacity and adds the lengths where the Graph reads them.
 *
 * @param capacity - what the program is compiled for.
 * @throws TesseraeError `ERR_SHAPE` for another capacity and for arrays that don't fit their rows, `ERR_DATA` for wrong lengths
 * and inputs that are not typed arrays, `ERR_CONFIG` for a field that packed batches don't have.
 */
export function completePacked(graph: Graph, given: PackedBatch, capacity: Capacity): ReadyBatch {
  const batch = parseConfig(schema, given, { whole: 'the batch', unreadable: 'ERR_DATA' });
  requireCapacity(batch.capacity as Capacity, capacity);
  const { rows } = batch;
  if (rows > capacity.rows)
    throw new TesseraeError(
      'ERR_SHAPE',
      `the batch has ${rows} rows, more than the ${capacity.rows} of its capacity: give it a larger one`,
    );
  const lengths =
    batch.lengths === undefined ? undefined : lengthsOf(batch.lengths, rows, longestRow(graph, capacity));
  const inputs: Record<string, InputArray> = {};
  for (const [name, array] of Object.entries(batch.inputs)) {
    inputs[name] = padded(name, array, { from: rows, to: capacity.rows, padding: paddingOf(graph, name) });
  }
  const known = lengths ?? new Int32Array(rows).fill(longestRow(graph, capacity));
  return {
    capacity,
    rows: capacity.rows,
    lengths: known,
    inputs: { ...lengthsInputs(graph, new Map([[graph.lengthAxes[0] ?? '', known]]), capacity), ...inputs },
  };
}

/**
 * The inputs of a Graph that have the lengths of rows. Unused rows get length 1, so that they attend to something: their first
 * position.
 *
 * @param lengths - by length axis; of each row that is used.
 */
export function lengthsInputs(
  { inputs }: Graph,
  lengths: ReadonlyMap<string, Int32Array | readonly number[]>,
  { rows }: Capacity,
): Batch {
  const arrays = inputs.flatMap((input): [string, Int32Array][] => {
    const given = input.kind === 'lengths' ? lengths.get(input.measures) : undefined;
    if (!given) return [];
    const values = new Int32Array(rows).fill(1);
    values.set(given);
    return [[input.name, values]];
  });
  return Object.fromEntries(arrays);
}

/**
 * Some rows of a batch as a batch of its own, padded to `rows` rows.
 *
 * @param begin - its first row that holds a sample, `end` the one after the last; none if they are equal.
 */
export function rowsOf(
  graph: Graph,
  { capacity, inputs, lengths }: ReadyBatch,
  { begin, end, rows }: { readonly begin: number; readonly end: number; readonly rows: number },
): ReadyBatch {
  const parts = Object.entries(inputs).map(([name, array]): [string, InputArray] => {
    const size = array.length / capacity.rows;
    const part = array.subarray(begin * size, end * size);
    return [name, extended(part, rows * size, paddingOf(graph, name))];
  });
  return {
    capacity: { ...capacity, rows },
    rows,
    lengths: lengths.slice(begin, end),
    inputs: Object.fromEntries(parts),
  };
}

/** The values of an input in rows without a sample. They attend to something: to their first position. */
function paddingOf({ inputs }: Graph, name: string): number {
  const input = inputs.find((one) => one.name === name);
  if (input?.kind === 'lengths') return 1;
  return (input?.kind === 'ids' ? input.ignored : undefined) ?? 0;
}

/** An array with so many values, or the array itself if it has them. */
function extended(array: InputArray, length: number, padding: number): InputArray {
  if (array.length === length) return array;
  const Kind = types.isInt32Array(array)
    ? Int32Array
    : types.isFloat32Array(array)
      ? Float32Array
      : Uint8Array;
  const whole = new Kind(length);
  whole.set(array);
  return padding === 0 ? whole : whole.fill(padding, array.length);
}

/** Positions of a row along the first length axis, which `lengths` counts. */
const longestRow = ({ lengthAxes }: Graph, { lengths }: Capacity): number =>
  lengths[lengthAxes[0] ?? ''] ?? 1;

function requireCapacity(given: Capacity, wanted: Capacity): void {
  const plain = ({ rows, lengths, documents = false }: Capacity): Required<Capacity> => ({
    rows,
    lengths: { ...lengths },
    documents,
  });
  if (isDeepStrictEqual(plain(given), plain(wanted))) return;
  const told = (capacity: Capacity): string =>
    `${capacityText(capacity)}${capacity.documents ? ' with documents' : ''}`;
  throw new TesseraeError(
    'ERR_SHAPE',
    `the batch is packed for ${told(given)}, but the step has ${told(wanted)}: pack all batches of a step for one capacity`,
  );
}

function lengthsOf(given: unknown, rows: number, time: number): number[] {
  const rules = { name: 'lengths', code: 'ERR_DATA', most: MOST_ENTRIES } as const;
  const lengths = readList(given, rules, (length, r) => {
    if (typeof length === 'number' && Number.isInteger(length) && length >= 1 && length <= time)
      return length;
    throw new TesseraeError(
      'ERR_DATA',
      `lengths[${r}] is ${show(length)}: it must be an integer from 1 to ${time}, the positions of a row`,
      { details: { row: r } },
    );
  });
  if (lengths.length === 0 || lengths.length > rows)
    throw new TesseraeError(
      'ERR_SHAPE',
      `lengths has ${lengths.length} entries for ${rows} rows: give one for each row that holds a sample`,
    );
  return lengths;
}

const kinds = [types.isInt32Array, types.isFloat32Array, types.isUint8Array];

/** An array padded with the rows that it lacks, or the array itself if it lacks none. */
function padded(
  name: string,
  given: unknown,
  { from, to, padding }: { readonly from: number; readonly to: number; readonly padding: number },
): InputArray {
  if (!kinds.some((is) => is(given)))
    throw new TesseraeError(
      'ERR_DATA',
      `inputs.${name} is ${show(given)}: it must be an Int32Array, a Float32Array or a Uint8Array`,
      { details: { input: name } },
    );
  const array = given as InputArray;
  if (isDetached(array))
    boundedLength(array, { name: `inputs.${name}`, code: 'ERR_DATA', most: MOST_ENTRIES });
  if (array.length % from !== 0)
    throw new TesseraeError(
      'ERR_SHAPE',
      `inputs.${name} has ${array.length} values, which are not ${from} rows of equal length`,
      { details: { input: name } },
    );
  return extended(array, (array.length / from) * to, padding);
}
