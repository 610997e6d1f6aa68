import { ByteTokenizer } from '../../../lib/data/byte_tokenizer';
import { IdTokenizer } from '../../../lib/data/id_tokenizer';
import { JsonTokenizer } from '../../../lib/data/json_tokenizer';
import { MOST_ENTRIES, readList, type ListRules } from '../../../lib/models/array_likes';
import type { GenerateOptions } from '../../../lib/sampling/options';
import { Sampler } from '../../../lib/sampling/sampler';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { disposeModels, tinyModel } from '../support/tiny_model';
import { tinyTokenizer } from '../support/tokenizer';

afterEach(disposeModels);

/** An array whose entries throw when they are read. */
const explosive = (): number[] =>
  Object.defineProperty([1, 2], 1, {
    get: () => {
      throw new RangeError('mine');
    },
  });

/** A list of any length that is 1 everywhere; it counts how often it is read. */
function endless(length: number): { readonly list: number[]; readonly reads: () => number } {
  let reads = 0;
  const list = new Proxy<number[]>([], {
    get: (target, key) => {
      if (key === 'length') return length;
      if (typeof key === 'symbol') return Reflect.get(target, key) as unknown;
      reads++;
      return 1;
    },
  });
  return { list, reads: () => reads };
}

function detached(): Int32Array {
  const array = new Int32Array(4);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

describe('readList', () => {
  const rules: ListRules = { name: 'ids', code: 'ERR_DATA', most: 3 };
  const keep = (entry: unknown): unknown => entry;

  it('copies arrays, typed arrays and objects with a length; holes are undefined', () => {
    expect(readList([1, 2], rules, keep)).toEqual([1, 2]);
    expect(readList(Float64Array.of(1, 2), rules, keep)).toEqual([1, 2]);
    expect(readList({ 0: 'a', length: 2 }, rules, keep)).toEqual(['a', undefined]);
  });

  it('reads nothing of a list that is too long, or of something else', async () => {
    const { list, reads } = endless(4);
    const { message } = await failureOf('ERR_DATA', () => readList(list, rules, keep));
    expect(message).toBe('ids may have at most 3 entries, not 4');
    expect(reads()).toBe(0);
    for (const none of [{}, 5, null, 'text', { length: -1 }, { length: 1.5 }])
      await failureOf('ERR_DATA', () => readList(none, rules, keep));
  });

  it('stops at the first entry that is refused', async () => {
    const { list, reads } = endless(3);
    const refuse = (): never => {
      throw new TypeError('not this one');
    };
    const { message, cause } = await failureOf('ERR_DATA', () => readList(list, rules, refuse));
    expect(message).toBe("ids can't be read: not this one");
    expect(cause).toBeInstanceOf(TypeError);
    expect(reads()).toBe(1);
  });

  it('names an array that was detached', async () => {
    const { message } = await failureOf('ERR_DATA', () => readList(detached(), rules, keep));
    expect(message).toMatch(/buffer was transferred/);
    expect(readList(new Int32Array(), rules, keep)).toEqual([]);
  });
});

/** Values that are not valid lists of token ids. */
const WRONG: readonly (readonly [string, () => unknown])[] = [
  ['a length of 2^32 - 1', () => ({ length: 2 ** 32 - 1 })],
  ['a length of 3e8', () => ({ length: 3e8 })],
  ['more entries than anything has', () => endless(MOST_ENTRIES + 1).list],
  ['a sparse array', (): unknown => new Array(2 ** 32 - 1)],
  // eslint-disable-next-line no-sparse-arrays
  ['a hole', () => [1, , 2]],
  ['a getter that throws', explosive],
  ['a bigint', () => [1, 2n]],
  ['a symbol', () => [1, Symbol('x')]],
  ['an object that is no number', () => [1, { valueOf: () => 1 }]],
  ['an object without a prototype', (): unknown => [1, Object.create(null)]],
  ['a detached array', detached],
];

describe.each(WRONG)('%s is an error with a code', (_, wrong) => {
  it('as tokens of a model and of a step', async () => {
    const model = await tinyModel();
    const rows = wrong();
    await failureOf('ERR_DATA', () => model.logits([wrong()] as never));
    await failureOf('ERR_DATA', () => model.logits(rows as never));
    await failureOf('ERR_DATA', () => model.logProbs([[1], wrong()] as never));
    const trainer = new Trainer(model, { arguments: { maxSteps: 1 } });
    await failureOf('ERR_DATA', () => trainer.step({ tokens: [wrong()] } as never));
    const refused = { code: expect.stringMatching(/^ERR_/) as string };
    await expect(trainer.step(wrong() as never)).rejects.toMatchObject(refused);
    const starts = { tokens: [[1, 2, 3]], documentStarts: [wrong()] };
    await failureOf('ERR_DATA', () => trainer.step(starts as never));
    const targets = trainer.step({ tokens: [[1, 2, 3]], targets: [wrong()] } as never);
    await expect(targets).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_(DATA|SHAPE)$/) as string,
    });
    const lengths = trainer.step({ tokens: [[1, 2, 3]], lengths: wrong() } as never);
    await expect(lengths).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_(DATA|SHAPE)$/) as string,
    });
  });

  it('as a prompt, and as one of several', async () => {
    const one = new Sampler(await tinyModel({ vocabSize: 256 }), new ByteTokenizer());
    await failureOf('ERR_DATA', () => one.generate(wrong() as number[]));
    await failureOf('ERR_DATA', () => one.generate(['a', wrong() as number[]]));
    await failureOf('ERR_DATA', () => one.stream(wrong() as number[]).next());
  });

  it('as an option of sampling', async () => {
    const one = new Sampler(await tinyModel({ vocabSize: 256, nTypes: 2 }), new ByteTokenizer());
    const types = { byToken: Array<number>(256).fill(1) };
    const given: Record<string, () => unknown> = {
      suppressTokens: wrong,
      stopTokens: wrong,
      eosTokenId: wrong,
      stop: wrong,
      allowedTokens: () => new Map([[3, wrong()]]),
      forcedTokens: () => new Map([[3, wrong()]]),
      types: () => ({ byPosition: wrong() }),
    };
    for (const [name, option] of Object.entries(given)) {
      const options = { types, [name]: option() } as GenerateOptions;
      const { details } = await failureOf('ERR_CONFIG', () => one.generate('a', options));
      expect(details['path']).toMatch(new RegExp(`^${name}`));
    }
    await failureOf('ERR_CONFIG', () =>
      one.generate('a', { types: { byToken: wrong() } } as GenerateOptions),
    );
    const mask = (): Uint32Array => wrong() as Uint32Array;
    await failureOf('ERR_DATA', () => one.generate('a', { types, tokenMask: mask }));
  });
});

it('no tokenizer decodes such lists', async () => {
  const json = new JsonTokenizer(JSON.stringify(tinyTokenizer()));
  for (const [, wrong] of WRONG.filter(([name]) => name !== 'a detached array'))
    for (const tokenizer of [new ByteTokenizer(), new IdTokenizer(9), json])
      await failureOf('ERR_DATA', () => tokenizer.decode(wrong() as number[]));
});

it('options and batches with a getter that throws are errors with a code', async () => {
  const model = await tinyModel({ vocabSize: 256 });
  const throwing = (name: string): object =>
    Object.defineProperty({}, name, {
      enumerable: true,
      get: () => {
        throw new RangeError('mine');
      },
    });
  const { message } = await failureOf('ERR_CONFIG', () =>
    new Sampler(model, new ByteTokenizer()).generate('a', throwing('seed')),
  );
  expect(message).toBe("options can't be read: mine");
  const trainer = new Trainer(model, { arguments: { maxSteps: 1 } });
  await failureOf('ERR_DATA', () => trainer.step(throwing('tokens') as never));
});
