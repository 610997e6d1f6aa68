/** Packs batches of examples for models with any inputs. */
import { types } from 'node:util';
import { z } from 'zod';
import { TesseraeError } from '../errors';
import type { Graph, IdsInput, InputSpec, ValuesInput } from '../graph/graph';
import { lossesOf, targetsOf } from '../graph/losses';
import type { Capacity, InputArray } from '../native';
import { isDetached, MOST_ENTRIES, readList } from './array_likes';
import { Capacities, capacityText } from './capacities';
import { largestOf } from './extremes';
import { lengthsInputs, type ReadyBatch } from './packed_batch';
import { parseConfig, show } from './validation';

/**
 * Examples to train on, by input name. An input with a length axis has an array for each row: ids, or numbers position by
 * position. An input with only the axis `batch` has one number per row. Don't give lengths: they come from the rows.
 */
export type ExampleRows = Readonly<Record<string, ArrayLike<number> | readonly ArrayLike<number>[]>>;

/** A batch of examples for a model with inputs of its own. */
export interface ExampleBatch {
  /** The rows of each input of the Graph. */
  readonly examples: ExampleRows;
}

/** Whether a batch is one of examples. */
export const isExamples = (batch: unknown): batch is ExampleBatch =>
  typeof batch === 'object' && batch !== null && 'examples' in batch;

const schema = z.strictObject({ examples: z.record(z.string(), z.unknown()) });

interface PackOptions {
  readonly targets: boolean;
  readonly capacity?: Capacity | Capacities;
}

type RowInput = IdsInput | ValuesInput;

/**
 * @param limits - the most positions of a row along each length axis.
 * @throws TesseraeError `ERR_DATA` for inputs that are missing, unknown, empty, too long or not numbers; `ERR_SHAPE` for rows that
 * do not fit each other or the capacity.
 */
export function packExamples(
  graph: Graph,
  limits: Readonly<Record<string, number>>,
  batch: ExampleBatch,
  { targets, capacity: wanted = new Capacities(limits) }: PackOptions,
): ReadyBatch {
  const { examples } = parseConfig(schema, batch, { whole: 'the batch', unreadable: 'ERR_DATA' });
  const answers = new Set(targets ? [] : lossesOf(graph).map((loss) => targetsOf(graph, loss)));
  const inputs = graph.inputs.filter(
    (input): input is RowInput =>
      (input.kind === 'ids' || input.kind === 'values') && !input.optional && !answers.has(input.name),
  );
  for (const name of Object.keys(examples))
    if (!inputs.some((input) => input.name === name))
      throw dataError(
        name,
        `is not an input of the model: use ${inputs.map((input) => input.name).join(', ')}`,
      );
  const read = inputs.map((input) => readInput(graph, input, examples[input.name]));
  const rows = read[0]?.rows.length ?? 0;
  if (rows === 0) throw new TesseraeError('ERR_DATA', 'the batch is empty: give at least one row');
  const lengths = lengthsByAxis(read, rows, limits);
  const exact: Capacity = {
    rows,
    lengths: Object.fromEntries([...lengths].map(([axis, of]) => [axis, largestOf(of)])),
  };
  const capacity = wanted instanceof Capacities ? wanted.holding(exact) : wanted;
  const fits = ([axis, length]: [string, number]): boolean => length <= (capacity.lengths[axis] ?? 0);
  if (rows > capacity.rows || !Object.entries(exact.lengths).every(fits))
    throw new TesseraeError(
      'ERR_SHAPE',
      `a batch of ${capacityText(exact)} does not fit ${capacityText(capacity)}`,
    );
  return {
    capacity,
    rows: capacity.rows,
    lengths: lengths.get(graph.lengthAxes[0] ?? '') ?? new Array<number>(rows).fill(1),
    inputs: {
      ...Object.fromEntries(read.map((one) => [one.input.name, fill(one, capacity)])),
      ...lengthsInputs(graph, lengths, capacity),
    },
  };
}

/** An input's rows, and how they lie along its axes. */
interface InputRows {
  readonly input: RowInput;
  readonly rows: readonly ArrayLike<number>[];
  /** Its length axis, if it has one. */
  readonly axis: string | undefined;
  /** Numbers of a position, or of a row without a length axis. */
  readonly width: number;
}

function readInput(graph: Graph, input: RowInput, given: unknown): InputRows {
  const { name, axes } = input;
  if (given === undefined) throw dataError(name, 'is missing: the model reads it');
  const axis = axes.find((one) => graph.lengthAxes.includes(one));
  const width = axes
    .flatMap((one) => graph.axes.find((declared) => declared.name === one)?.factors ?? [])
    .reduce((product, { size }) => product * size, 1);
  const hasRows = axis !== undefined || axes.length > 1;
  const message = hasRows
    ? 'must be an array with one array of numbers per row'
    : 'must be an array of numbers';
  if (!isNumbers(given)) throw dataError(name, message);
  const rules = { name, code: 'ERR_DATA', most: MOST_ENTRIES } as const;
  const rows = readList(given, rules, (row, r): ArrayLike<number> => {
    const numbers = hasRows ? row : [row];
    if (!isNumbers(numbers)) throw dataError(name, message);
    if (isDetached(numbers)) throw dataError(`${name}[${r}]`, 'was transferred elsewhere');
    if (numbers.length % width !== 0 || (axis === undefined && numbers.length !== width))
      throw new TesseraeError(
        'ERR_SHAPE',
        `${name}[${r}] has ${numbers.length} numbers: it must have ${width} ${axis === undefined ? 'in all' : 'for each position'}`,
        { details: { input: name, row: r } },
      );
    return numbers as ArrayLike<number>;
  });
  return { input, rows, axis, width };
}

const isNumbers = (value: unknown): value is ArrayLike<unknown> =>
  Array.isArray(value) || (types.isTypedArray(value) && !types.isBigInt64Array(value));

/** For each length axis the positions of each row, the same for all inputs along it. */
function lengthsByAxis(
  read: readonly InputRows[],
  rows: number,
  limits: Readonly<Record<string, number>>,
): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, { readonly name: string; readonly lengths: readonly number[] }>();
  for (const { input, rows: own, axis, width } of read) {
    const { name } = input;
    if (own.length !== rows)
      throw new TesseraeError(
        'ERR_SHAPE',
        `${name} has ${own.length} rows, but ${read[0]?.input.name} has ${rows}`,
      );
    if (axis === undefined) continue;
    const lengths = own.map((row) => row.length / width);
    const first = found.get(axis);
    if (!first) found.set(axis, { name, lengths });
    lengths.forEach((length, r) => {
      const most = limits[axis] ?? Infinity;
      if (length === 0) throw dataError(`${name}[${r}]`, 'is empty: leave the row out');
      if (length > most)
        throw dataError(
          `${name}[${r}]`,
          `has ${length} positions, more than the model's ${most} along '${axis}': cut it`,
        );
      if (first && first.lengths[r] !== length)
        throw new TesseraeError(
          'ERR_SHAPE',
          `${name}[${r}] has ${length} positions, but ${first.name}[${r}] has ${first.lengths[r] ?? 0}`,
          { details: { row: r } },
        );
    });
  }
  return new Map([...found].map(([axis, { lengths }]) => [axis, lengths]));
}

/** Rows one after the other, each padded to the capacity. */
function fill({ input, rows, axis, width }: InputRows, capacity: Capacity): InputArray {
  const stride = (axis === undefined ? 1 : (capacity.lengths[axis] ?? 1)) * width;
  const array = new (arrayOf(input))(capacity.rows * stride);
  const padding = input.kind === 'ids' ? (input.ignored ?? 0) : 0;
  if (padding !== 0) array.fill(padding);
  rows.forEach((row, r) => {
    if (row.constructor === array.constructor) array.set(row, r * stride);
    else copyNumbers(input, row, array.subarray(r * stride), r);
  });
  return array;
}

const arrayOf = (
  input: RowInput,
): Int32ArrayConstructor | Float32ArrayConstructor | Uint8ArrayConstructor => {
  if (input.kind === 'ids') return Int32Array;
  return input.dtype === 'uint8' ? Uint8Array : Float32Array;
};

/** Copies numbers that the array can hold; others it would change silently. */
function copyNumbers(input: InputSpec, row: ArrayLike<unknown>, into: InputArray, r: number): void {
  for (let i = 0; i < row.length; i++) {
    const value = row[i];
    if (typeof value === 'number') into[i] = value;
    const isKept = into instanceof Float32Array ? typeof value === 'number' : into[i] === value;
    if (!isKept)
      throw dataError(
        `${input.name}[${r}][${i}]`,
        `is ${show(value)}: it must be ${into instanceof Float32Array ? 'a number' : into instanceof Uint8Array ? 'an integer from 0 to 255' : 'an integer'}`,
      );
  }
}

const dataError = (name: string, problem: string): TesseraeError =>
  new TesseraeError('ERR_DATA', `${name} ${problem}`, { details: { input: name } });
