import { buildGraph, resolveModelConfig } from '../../../lib/models/families';
import type { GPT2Options } from '../../../lib/models/gpt2_config';
import { packBatch, type InputContract, type TrainingBatch } from '../../../lib/models/inputs';
import { failureOf } from '../support/errors';

const contract = (options: Partial<GPT2Options> = {}): InputContract => {
  const config = resolveModelConfig({
    type: 'gpt2',
    vocabSize: 50,
    nPositions: 40,
    nEmbd: 8,
    nLayer: 1,
    nHead: 1,
    ...options,
  });
  return { graph: buildGraph(config), config };
};

const causal = contract();
const encoder = contract({ isEncoder: true });
const typed = contract({ nTypes: 2, nStypes: 3 });
const train = { targets: true, capacity: { rows: 2, lengths: { time: 4 } } };

const arrays = (inputs: Readonly<Record<string, ArrayLike<number>>>): Record<string, number[]> =>
  Object.fromEntries(Object.entries(inputs).map(([name, values]) => [name, Array.from(values)]));

describe('packBatch', () => {
  it('pads rows and shifts targets, with no loss at the last position', () => {
    const { inputs, lengths } = packBatch(causal, { tokens: [[1, 2, 3], Int32Array.of(4, 5)] }, train);
    expect(arrays(inputs)).toEqual({
      tokens: [1, 2, 3, 0, 4, 5, 0, 0],
      targets: [2, 3, -100, -100, 5, -100, -100, -100],
    });
    expect(lengths).toEqual([3, 2]);
  });

  it('rounds time up to a multiple of 32, at most nPositions', () => {
    const capacity = (length: number): unknown =>
      packBatch(causal, { tokens: new Int32Array(length) }, { targets: false }).capacity;
    expect(capacity(1)).toEqual({ rows: 1, lengths: { time: 32 } });
    expect(capacity(32)).toEqual({ rows: 1, lengths: { time: 32 } });
    expect(capacity(33)).toEqual({ rows: 1, lengths: { time: 40 } });
  });

  it('copies a flat array that fits, so that the caller may fill it again', () => {
    const tokens = Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const targets = Int32Array.of(2, 3, 4, 5, 6, 7, 8, 9);
    const { inputs } = packBatch(causal, { tokens, targets, rows: 2 }, train);
    tokens.fill(0);
    targets.fill(0);
    expect([...inputs['tokens']!]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...inputs['targets']!]).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('fills rows that are not used with ignored targets', () => {
    const { inputs } = packBatch(causal, { tokens: [[1, 2, 3, 4]] }, train);
    expect(Array.from(inputs['targets'] ?? []).slice(4)).toEqual([-100, -100, -100, -100]);
  });

  it('cuts rows at lengths and passes them to an encoder', () => {
    const batch = {
      tokens: [
        [1, 2, 3],
        [4, 5, 6],
      ],
      targets: [
        [7, 8, 9],
        [7, 8, 9],
      ],
      lengths: [2, 3],
    };
    expect(arrays(packBatch(encoder, batch, train).inputs)).toEqual({
      tokens: [1, 2, 0, 0, 4, 5, 6, 0],
      targets: [7, 8, -100, -100, 7, 8, 9, -100],
      lengths: [2, 3],
    });
    expect(
      arrays(packBatch(encoder, { tokens: [[1]] }, { ...train, targets: false }).inputs)['lengths'],
    ).toEqual([1, 1]);
  });

  it('passes types and subtypes', () => {
    const batch = { tokens: [[1, 2]], types: [[0, 1]], subtypes: Int32Array.of(2, 1) };
    expect(arrays(packBatch(typed, batch, train).inputs)).toMatchObject({
      types: [0, 1, 0, 0, 0, 0, 0, 0],
      subtypes: [2, 1, 0, 0, 0, 0, 0, 0],
    });
  });

  describe('documents', () => {
    const tokens = [[1, 2, 3, 4, 5, 6], Int32Array.of(7, 8)];
    const documentStarts = [[0, 3, 4], Int32Array.of(0)];
    const capacity = { rows: 3, lengths: { time: 7 } };

    it('gives each position the start of its document, and no target across a boundary', () => {
      const packed = packBatch(causal, { tokens, documentStarts }, { targets: true, capacity });
      expect(packed.capacity).toEqual({ ...capacity, documents: true });
      expect(arrays(packed.inputs)).toMatchObject({
        starts: [0, 0, 0, 3, 4, 4, 6, 0, 0, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0],
        targets: [2, 3, -100, -100, 6, -100, -100, 8, ...new Array<number>(13).fill(-100)],
      });
    });

    it('leaves targets that are given as they are', () => {
      const batch = { tokens: [[1, 2, 3]], targets: [[4, 5, 6]], documentStarts: [[0, 1, 2]] };
      const { inputs } = packBatch(causal, batch, {
        targets: true,
        capacity: { rows: 1, lengths: { time: 3 } },
      });
      expect(arrays(inputs)).toEqual({ tokens: [1, 2, 3], starts: [0, 1, 2], targets: [4, 5, 6] });
    });

    it('makes a row one document where only the capacity has documents', () => {
      const { inputs } = packBatch(
        causal,
        { tokens: [[1, 2]] },
        { targets: false, capacity: { rows: 2, lengths: { time: 3 }, documents: true } },
      );
      expect(arrays(inputs)).toEqual({ tokens: [1, 2, 0, 0, 0, 0], starts: [0, 0, 2, 0, 0, 0] });
    });

    it('chooses a capacity of their own', () => {
      const { capacity } = packBatch(causal, { tokens, documentStarts }, { targets: false });
      expect(capacity).toEqual({ rows: 2, lengths: { time: 32 }, documents: true });
    });

    const refused: [string, unknown, 'ERR_DATA' | 'ERR_SHAPE', RegExp][] = [
      ['an entry too few', [[0]], 'ERR_SHAPE', /documentStarts has 1 entries for 2 rows/],
      ['no start', [[0], []], 'ERR_DATA', /documentStarts\[1\] is empty/],
      ['a first that is not 0', [[1], [0]], 'ERR_DATA', /documentStarts\[0\]\[0\] is 1: .* starts at 0/],
      ['a start twice', [[0, 2, 2], [0]], 'ERR_DATA', /documentStarts\[0\]\[2\] is 2: .* above 2/],
      ['descending starts', [[0, 4, 3], [0]], 'ERR_DATA', /\[0\]\[2\] is 3: .* above 4/],
      ['a start behind the row', [[0], [0, 2]], 'ERR_DATA', /\[1\]\[1\] is 2: .* below 2/],
      ['a start that is not an integer', [[0, 1.5], [0]], 'ERR_DATA', /\[0\]\[1\] is 1.5/],
      ['NaN', [[0, NaN], [0]], 'ERR_DATA', /is NaN/],
      ['a text', 'ab', 'ERR_DATA', /documentStarts must be an array/],
      ['a flat array', Int32Array.of(0, 0), 'ERR_DATA', /documentStarts must be an array/],
    ];
    it.each(refused)('refuses %s', async (_, wrong, code, message) => {
      const batch = { tokens, documentStarts: wrong } as TrainingBatch;
      expect((await failureOf(code, () => packBatch(causal, batch, { targets: true }))).message).toMatch(
        message,
      );
    });

    it('refuses a model that has no such input', async () => {
      const graph = { ...causal.graph, inputs: causal.graph.inputs.filter(({ name }) => name !== 'starts') };
      const batch = { tokens, documentStarts };
      const pack = () => packBatch({ ...causal, graph }, batch, { targets: true });
      expect((await failureOf('ERR_DATA', pack)).message).toMatch(/does not keep documents of a row apart/);
    });
  });

  const wrong: [string, InputContract, TrainingBatch, 'ERR_DATA' | 'ERR_SHAPE', RegExp][] = [
    ['an empty batch', causal, { tokens: [] }, 'ERR_DATA', /empty/],
    ['an empty row', causal, { tokens: [[1], []] }, 'ERR_DATA', /row 1 of tokens is empty/],
    ['an empty flat array', causal, { tokens: new Int32Array(0) }, 'ERR_DATA', /row 0 of tokens is empty/],
    [
      'a row that is too long',
      causal,
      { tokens: [new Int32Array(41)] },
      'ERR_DATA',
      /41 tokens.*nPositions 40/,
    ],
    ['an id that is not an integer', causal, { tokens: [[1, 1.5]] }, 'ERR_DATA', /tokens\[0\]\[1\] is 1.5/],
    ['NaN', causal, { tokens: [[NaN]] }, 'ERR_DATA', /is NaN/],
    ['an id beyond 32 bits', causal, { tokens: [[2 ** 32]] }, 'ERR_DATA', /4294967296/],
    ['rows that are no arrays', causal, { tokens: 'abc' as never }, 'ERR_DATA', /must be an Int32Array/],
    [
      'a flat array that is not rows',
      causal,
      { tokens: new Int32Array(5), rows: 2 },
      'ERR_SHAPE',
      /not 2 rows/,
    ],
    ['rows that are counted wrongly', causal, { tokens: [[1]], rows: 2 }, 'ERR_SHAPE', /rows says 2/],
    [
      'targets of another length',
      causal,
      { tokens: [[1, 2]], targets: [[1]] },
      'ERR_SHAPE',
      /row 0 of targets has 1/,
    ],
    [
      'more targets than tokens',
      causal,
      { tokens: [[1]], targets: [[1], [2]] },
      'ERR_SHAPE',
      /targets has 2 rows/,
    ],
    ['a length beyond its row', causal, { tokens: [[1, 2]], lengths: [3] }, 'ERR_DATA', /lengths\[0\] is 3/],
    ['too few lengths', causal, { tokens: [[1], [2]], lengths: [1] }, 'ERR_SHAPE', /1 entries for 2 rows/],
    ['no targets for an encoder', encoder, { tokens: [[1]] }, 'ERR_DATA', /targets are missing/],
    ['no types for a model with types', typed, { tokens: [[1]] }, 'ERR_DATA', /types are missing.*nTypes/],
    ['types for a model without', causal, { tokens: [[1]], types: [[0]] }, 'ERR_DATA', /the model has none/],
    [
      'too many rows',
      causal,
      { tokens: [[1], [2], [3]] },
      'ERR_SHAPE',
      /3 rows of up to 1 tokens does not fit 2/,
    ],
  ];
  it.each(wrong)('refuses %s', async (_, model, batch, code, message) => {
    expect((await failureOf(code, () => packBatch(model, batch, train))).message).toMatch(message);
  });
});
