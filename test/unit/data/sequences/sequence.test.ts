import { checkSequence, type CheckedSequence } from '../../../../lib/data/sequences/sequence';

const RULES = { blockSize: 6, truncation: false, vocabSize: 10, nTypes: 0, nStypes: 0, ignoreIndex: -100 };

const check = (value: unknown, rules = {}): CheckedSequence =>
  checkSequence(value, { ...RULES, ...rules }, (why) => {
    throw new Error(why);
  });

const targets = (value: unknown, rules = {}): number[] => {
  const { values, length } = check(value, rules);
  return [...values.slice(values.length - length)];
};

describe('checkSequence', () => {
  it('predicts the next token where the mask allows it', () => {
    expect(targets({ tokens: [1, 2, 3] })).toEqual([2, 3, -100]);
    expect(targets({ tokens: Int32Array.of(1, 2, 3), lossMask: [0, 0, 1] })).toEqual([-100, 3, -100]);
    // The first token is given in any case.
    expect(targets({ tokens: [1, 2, 3], lossMask: [1, 1, 0] }, { ignoreIndex: -1 })).toEqual([2, -1, -1]);
  });

  it('takes targets as they are', () => {
    expect(targets({ tokens: [1, 2], targets: [7, -100] })).toEqual([7, -100]);
    expect(check({ tokens: [1], targets: [7] }).hasTargets).toBe(true);
  });

  it('stores types and subtypes between tokens and targets', () => {
    const { values, length } = check(
      { tokens: [4, 5], types: [0, 1], subtypes: [2, 2] },
      { nTypes: 2, nStypes: 3 },
    );
    expect(length).toBe(2);
    expect([...values]).toEqual([4, 5, 0, 1, 2, 2, 5, -100]);
  });

  it('cuts with truncation; the last position still predicts the token after it', () => {
    const { values, length } = check({ tokens: [0, 1, 2, 3, 4, 5, 6, 7] }, { truncation: true });
    expect(length).toBe(6);
    expect([...values]).toEqual([0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6]);
  });

  it.each<[string, unknown, RegExp, object?]>([
    ['a number', 5, /^is 5, but must be an object/],
    ['null', null, /^is null/],
    ['an array', [1, 2], /^is an array, but must be an object/],
    ['no tokens', {}, /^has no tokens: give "tokens"/],
    ['no token', { tokens: [] }, /^has an empty array of tokens/],
    ['text', { tokens: 'abc' }, /^has 'abc' as tokens: it must be an array of integers/],
    ['a name of others', { input_ids: [1] }, /^has the unknown key 'input_ids': did you mean tokens\?/],
    ['an unknown name', { tokens: [1, 2], colour: [1, 2] }, /unknown key 'colour': known are tokens, types/],
    ['a prototype', JSON.parse('{"tokens":[1,2],"__proto__":[1]}'), /unknown key '__proto__'/],
    ['a fraction', { tokens: [1, 1.5] }, /^has tokens\[1\] 1.5: it must be an integer from 0 to 9$/],
    ['a negative id', { tokens: [1, -1] }, /tokens\[1\] -1/],
    ['NaN', { tokens: [1, NaN] }, /tokens\[1\] NaN/],
    ['nested arrays', { tokens: [1, [2]] }, /tokens\[1\] an array/],
    ['an id that is too large', { tokens: [1, 10] }, /tokens\[1\] 10: it must be an integer from 0 to 9/],
    ['an id that is cut off', { tokens: [1, 2, 3, 4, 5, 6, 10] }, /tokens\[6\] 10/, { truncation: true }],
    ['a length', { tokens: [1, 2], lossMask: [1] }, /^has 1 lossMask for 2 tokens: give one for each/],
    ['a mask', { tokens: [1, 2], lossMask: [1, 2] }, /lossMask\[1\] 2: it must be an integer from 0 to 1/],
    [
      'targets and a mask',
      { tokens: [1], targets: [1], lossMask: [1] },
      /both targets and lossMask: put -100/,
    ],
    ['a target', { tokens: [1], targets: [-1] }, /targets\[0\] -1: .* from 0 to 9, or -100 for no loss/],
    ['types', { tokens: [1, 2], types: [0, 0] }, /^has types, but nTypes is 0/],
    ['no types', { tokens: [1, 2] }, /^has no types, but nTypes is 2: give one/, { nTypes: 2 }],
    ['a type', { tokens: [1, 2], types: [0, 2] }, /types\[1\] 2: .* from 0 to 1/, { nTypes: 2 }],
    [
      'a long one',
      { tokens: [1, 2, 3, 4, 5, 6, 7] },
      /^has 7 tokens, more than blockSize 6: .*set truncation/,
    ],
    ['one token', { tokens: [1] }, /^has one token, so there is nothing to predict/],
    ['no loss', { tokens: [1, 2], lossMask: [1, 0] }, /^has no position with a loss: leave it out/],
    [
      'no loss after cutting',
      { tokens: [1, 2, 3, 4, 5, 6, 7, 8], lossMask: [0, 0, 0, 0, 0, 0, 0, 1] },
      /^has no loss in its first 6 tokens/,
      { truncation: true },
    ],
  ])('refuses %s', (_, value, message, rules = {}) => {
    expect(() => check(value, rules)).toThrow(message);
  });
});
