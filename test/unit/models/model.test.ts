import { Model } from '../../../lib/models/model';
import { failureOf } from '../support/errors';
import { disposeModels, TINY, tinyModel } from '../support/tiny_model';

afterEach(disposeModels);

describe('Model', () => {
  it('counts the parameters that are trained, without padding', async () => {
    const block = (width: number): number => 12 * width * width + 13 * width;
    expect((await tinyModel()).parameterCount).toBe((32 + 16) * 16 + block(16) + 2 * 16);
    expect((await tinyModel({ nEmbd: 18 })).parameterCount).toBe((32 + 16) * 18 + block(18) + 2 * 18);
    expect((await tinyModel({ positions: 'sinusoidal' })).parameterCount).toBe(32 * 16 + block(16) + 2 * 16);
    expect((await tinyModel({ tieWordEmbeddings: false })).parameterCount).toBe(
      (64 + 16) * 16 + block(16) + 32,
    );
  });

  it('describes itself', async () => {
    const model = await tinyModel();
    expect(model).toMatchObject({ device: 'cpu', precision: 'fp32', threads: 1 });
    expect(model.fallbackReason).toBeUndefined();
    expect(model.config).toMatchObject({ nEmbd: 16, nInner: 64, isCausal: true });
  });

  it('reads a row that lies in shared memory', async () => {
    const model = await tinyModel();
    const shared = new Int32Array(new SharedArrayBuffer(8));
    shared.set([1, 2]);
    expect((await model.logits(shared)).data).toEqual((await model.logits([[1, 2]])).data);
  });

  it('names row and position of an id out of range', async () => {
    const model = await tinyModel();
    const rows = [
      [1, 2, 3],
      [4, 99, 5],
    ];
    const { message } = await failureOf('ERR_DATA', () => model.logits(rows));
    expect(message).toMatch(/tokens\[1\]\[1\] is 99/);
  });

  it('starts only from the seed', async () => {
    const logits = async (seed: number): Promise<number[]> => [
      ...(await (await tinyModel({}, { seed })).logits([[1, 2]])).data,
    ];
    expect(await logits(5)).toEqual(await logits(5));
    expect(await logits(5)).not.toEqual(await logits(6));
  });

  it('reads a packed batch as it reads its rows', async () => {
    const model = await tinyModel({ nTypes: 2 });
    const capacity = { rows: 3, lengths: { time: 16 } };
    const inputs = { tokens: new Int32Array(32), types: new Int32Array(32) };
    inputs.tokens.set([1, 2, 3]);
    inputs.tokens.set([4, 5, 6], 16);
    inputs.types.set([1], 17);
    const whole = { capacity, rows: 2, inputs };
    const packed = { ...whole, lengths: [3, 3] };
    const types = [
      [0, 0, 0],
      [0, 1, 0],
    ];
    const tokens = [
      [1, 2, 3],
      [4, 5, 6],
    ];
    expect(await model.logits(packed)).toEqual(await model.logits(tokens, { types }));
    expect((await model.logProbs(whole)).shape).toEqual([2, 16, 32]);
    const { message } = await failureOf('ERR_CONFIG', () => model.logits(packed, { types }));
    expect(message).toMatch(/^types is given next to a packed batch/);
    const unequal = { ...packed, lengths: [3, 2] };
    expect((await failureOf('ERR_SHAPE', () => model.logits(unequal))).message).toMatch(/row 1 has 2 tokens/);
  });

  it('gives logits of rows and of a flat row, causal ones', async () => {
    const model = await tinyModel();
    const { shape, data } = await model.logits([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(shape).toEqual([2, 3, 32]);
    expect(data).toHaveLength(2 * 3 * 32);
    const flat = await model.logits(Int32Array.of(4, 5, 6));
    expect(flat.shape).toEqual([1, 3, 32]);
    const second = data.subarray(3 * 32);
    flat.data.forEach((value, i) => expect(value).toBeCloseTo(second[i] ?? NaN, 5));
    const shorter = await model.logits([[1, 2]]);
    shorter.data.forEach((value, i) => expect(value).toBeCloseTo(data[i] ?? NaN, 5));
  });

  it('returns only the requested rows of a larger program', async () => {
    const model = await tinyModel();
    const rows = [[1], [2], [3]];
    const { data } = await model.logits(rows);
    const two = await model.logits(rows.slice(0, 2));
    expect(two.shape).toEqual([2, 1, 32]);
    expect(two.data).toEqual(data.slice(0, 2 * 32));
  });

  it('gives log-probabilities of the same logits', async () => {
    const model = await tinyModel();
    const logits = await model.logits([[1, 2]]);
    const { shape, data } = await model.logProbs([[1, 2]]);
    expect(shape).toEqual([1, 2, 32]);
    for (let row = 0; row < 2; row++) {
      const of = (values: Float32Array): number[] => [...values.subarray(row * 32, row * 32 + 32)];
      const total = Math.log(of(logits.data).reduce((sum, value) => sum + Math.exp(value), 0));
      of(data).forEach((value, i) => expect(value).toBeCloseTo((of(logits.data)[i] ?? NaN) - total, 5));
    }
  });

  it('reads types, and an encoder both directions', async () => {
    const model = await tinyModel({ isEncoder: true, nTypes: 2 });
    const first = async (tokens: number[], types: number[]): Promise<number[]> => [
      ...(await model.logits([tokens], { types: [types] })).data.subarray(0, 32),
    ];
    const reference = await first([1, 2], [0, 0]);
    expect(await first([1, 3], [0, 0])).not.toEqual(reference);
    expect(await first([1, 2], [0, 1])).not.toEqual(reference);
    await failureOf('ERR_DATA', () => model.logits([[1, 2]]));
  });

  it('refuses tokens that it can not read', async () => {
    const model = await tinyModel();
    await failureOf('ERR_SHAPE', () => model.logits([[1, 2], [3]]));
    await failureOf('ERR_DATA', () => model.logits([[32]]));
    await failureOf('ERR_DATA', () => model.logits([]));
    await failureOf('ERR_DATA', () => model.logits([new Int32Array(17)]));
  });

  it('refuses a second call while it is at work, and any after dispose', async () => {
    const model = await tinyModel();
    const first = model.logits([[1]]);
    await failureOf('ERR_BUSY', () => model.logits([[1]]));
    await first;
    model.dispose();
    model.dispose();
    await failureOf('ERR_DISPOSED', () => model.logits([[1]]));
  });

  it('is disposed at the end of its scope', async () => {
    let outside: Model;
    {
      using model = await Model.create(TINY, { device: 'cpu', threads: 1 });
      outside = model;
      await model.logits([[1]]);
    }
    await failureOf('ERR_DISPOSED', () => outside.logits([[1]]));
  });

  it.each([
    [{ seed: -1 }, 'seed'],
    [{ threads: 0 }, 'threads'],
    [{ precision: 'fp8' }, 'precision'],
    [{ device: 'tpu' }, 'device'],
    [{ dtype: 'fp32' }, 'dtype'],
  ])('refuses the options %j', async (options, where) => {
    const failure = await failureOf('ERR_CONFIG', () => Model.create(TINY, options as never));
    expect(failure.details['path']).toBe(where);
  });
});
