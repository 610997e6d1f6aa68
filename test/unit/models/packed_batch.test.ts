import { Capacities } from '../../../lib/models/capacities';
import { buildGraph, resolveModelConfig } from '../../../lib/models/families';
import type { GPT2Options } from '../../../lib/models/gpt2_config';
import { packBatch, type InputContract } from '../../../lib/models/inputs';
import type { PackedBatch } from '../../../lib/models/packed_batch';
import { failureOf } from '../support/errors';

const contract = (options: Partial<GPT2Options> = {}): InputContract => {
  const shape = { vocabSize: 50, nPositions: 40, nEmbd: 8, nLayer: 1, nHead: 1 };
  const config = resolveModelConfig({ type: 'gpt2', ...shape, ...options });
  return { graph: buildGraph(config), config };
};

const causal = contract();
const encoder = contract({ isEncoder: true });

/** Two rows of four tokens. */
const batch: PackedBatch = {
  capacity: { rows: 2, lengths: { time: 4 } },
  rows: 2,
  inputs: {
    tokens: Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    targets: Int32Array.of(2, 3, 4, 5, 6, 7, 8, 9),
  },
};

const complete = (given: PackedBatch, model = causal, capacity = given.capacity) =>
  packBatch(model, given, { targets: true, capacity });

describe('a packed batch', () => {
  it('is handed on without a copy', () => {
    const { inputs, capacity, rows, lengths } = complete(batch);
    expect(inputs['tokens']).toBe(batch.inputs['tokens']);
    expect(inputs['targets']).toBe(batch.inputs['targets']);
    expect({ capacity, rows, lengths: [...lengths] }).toEqual({
      capacity: { rows: 2, lengths: { time: 4 } },
      rows: 2,
      lengths: [4, 4],
    });
  });

  it('has its own capacity where several would do', () => {
    const capacities = new Capacities({ time: 40 });
    expect(packBatch(causal, batch, { targets: true, capacity: capacities }).capacity).toEqual(
      batch.capacity,
    );
  });

  it('is padded to the rows of its capacity, each input by its kind', () => {
    const axes = ['batch', 'time'];
    const model = {
      ...causal,
      graph: {
        ...causal.graph,
        inputs: [
          ...causal.graph.inputs,
          { axes, name: 'weights', kind: 'values' as const, dtype: 'float32' as const },
          { axes, name: 'kinds', kind: 'ids' as const, below: 3, ignored: -7 },
        ],
      },
    };
    const weights = Float32Array.of(0.5, 1.5);
    const pixels = Uint8Array.of(200, 201, 202, 203);
    const kinds = Int32Array.of(1, 2);
    const inputs = { tokens: Int32Array.of(1, 2), targets: Int32Array.of(2, 3), weights, kinds, pixels };
    const padded = complete({ capacity: { rows: 3, lengths: { time: 2 } }, rows: 1, inputs }, model);
    expect(padded.rows).toBe(3);
    expect(padded.inputs).toEqual({
      tokens: Int32Array.of(1, 2, 0, 0, 0, 0),
      targets: Int32Array.of(2, 3, -100, -100, -100, -100),
      weights: Float32Array.of(0.5, 1.5, 0, 0, 0, 0),
      kinds: Int32Array.of(1, 2, -7, -7, -7, -7),
      pixels: Uint8Array.of(200, 201, 202, 203, 0, 0, 0, 0, 0, 0, 0, 0),
    });
    expect([...padded.lengths]).toEqual([2]);
  });

  it('gives an encoder its lengths', () => {
    const { inputs, lengths } = complete(
      { ...batch, capacity: { rows: 3, lengths: { time: 4 } }, lengths: Int32Array.of(3) },
      encoder,
    );
    expect([...lengths]).toEqual([3]);
    expect([...(inputs['lengths'] ?? [])]).toEqual([3, 1, 1]);
  });

  it('keeps lengths that are among its inputs', () => {
    const given = { ...batch.inputs, lengths: Int32Array.of(2, 3) };
    const { inputs } = complete({ ...batch, inputs: given }, encoder);
    expect(inputs['lengths']).toBe(given.lengths);
  });

  const { tokens, targets } = batch.inputs as { tokens: Int32Array; targets: Int32Array };
  const detached = new Int32Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const wrong: [string, unknown, 'ERR_CONFIG' | 'ERR_DATA' | 'ERR_SHAPE', RegExp][] = [
    ['a field that it does not have', { tokens }, 'ERR_CONFIG', /^tokens is unknown/],
    ['no rows', { rows: 0 }, 'ERR_CONFIG', /^rows must be an integer from 1/],
    ['no capacity', { capacity: undefined }, 'ERR_CONFIG', /^capacity is missing/],
    [
      'a capacity of nothing',
      { capacity: { rows: 2, lengths: { time: 0 } } },
      'ERR_CONFIG',
      /^capacity.lengths.time must be/,
    ],
    ['more rows than its capacity', { rows: 4 }, 'ERR_SHAPE', /4 rows, more than the 2 of its capacity/],
    ['inputs that are a list', { inputs: [tokens] }, 'ERR_CONFIG', /^inputs must be/],
    [
      'an array of numbers',
      { inputs: { tokens: [1, 2] } },
      'ERR_DATA',
      /^inputs.tokens is an array: it must/,
    ],
    ['64-bit floats', { inputs: { tokens: new Float64Array(8) } }, 'ERR_DATA', /must be an Int32Array/],
    ['a detached array', { inputs: { tokens: detached } }, 'ERR_DATA', /transferred elsewhere/],
    [
      'an array that is not its rows',
      { inputs: { tokens: tokens.subarray(1), targets } },
      'ERR_SHAPE',
      /inputs.tokens has 7 values, which are not 2 rows/,
    ],
    ['a length of nothing', { lengths: [4, 0] }, 'ERR_DATA', /^lengths\[1\] is 0: .* from 1 to 4/],
    ['a length beyond its row', { lengths: [5] }, 'ERR_DATA', /^lengths\[0\] is 5/],
    ['lengths of rows that are not there', { lengths: [1, 2, 3] }, 'ERR_SHAPE', /3 entries for 2 rows/],
    ['no lengths', { lengths: [] }, 'ERR_SHAPE', /0 entries for 2 rows/],
  ];
  it.each(wrong)('is refused with %s', async (_, fields, code, message) => {
    const given = { ...batch, ...(fields as object) };
    expect((await failureOf(code, () => complete(given, causal, batch.capacity))).message).toMatch(message);
  });

  it.each([
    [
      'rows',
      { rows: 3, lengths: { time: 4 } },
      /packed for 2 rows × 4 time, but the step has 3 rows × 4 time/,
    ],
    [
      'documents',
      { rows: 2, lengths: { time: 4 }, documents: true },
      /has 2 rows × 4 time with documents: pack all/,
    ],
  ])('is refused by a step of other %s', async (_, capacity, message) => {
    const { message: why } = await failureOf('ERR_SHAPE', () => complete(batch, causal, capacity));
    expect(why).toMatch(message);
  });
});
