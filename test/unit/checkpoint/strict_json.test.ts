import fc from 'fast-check';
import { JsonError, parseStrictJson, type StrictJson } from '../../../lib/checkpoint/strict_json';

const plain = (value: StrictJson): unknown => {
  if (value instanceof Map) {
    const object: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const [key, item] of value) object[key] = plain(item);
    return object;
  }
  return Array.isArray(value) ? value.map(plain) : value;
};

describe('parseStrictJson', () => {
  it('reads what JSON.parse reads', () => {
    const json = fc.json({ maxDepth: 6 });
    fc.assert(
      fc.property(json, (text) => {
        fc.pre(!/\d{16}|[eE][+-]?\d/.test(text));
        const expected: unknown = JSON.parse(text);
        expect(JSON.stringify(plain(parseStrictJson(` ${text}\n`)))).toBe(JSON.stringify(expected));
      }),
    );
  });

  it('refuses what JSON.parse refuses', () => {
    const texts = fc.string({ unit: fc.constantFrom(...'{}[]",:\\0123.eE+- tfnul\n') });
    fc.assert(
      fc.property(texts, (text) => {
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        if (!valid) expect(() => parseStrictJson(text)).toThrow(JsonError);
      }),
      { numRuns: 2000 },
    );
  });

  it('keeps __proto__ as a key like any other', () => {
    const value = parseStrictJson('{"__proto__": 1}') as Map<string, StrictJson>;
    expect([...value]).toEqual([['__proto__', 1]]);
  });

  it.each([
    ['{"a": 1, "a": 2}', /"a" is there twice at character 9/],
    ['{"a": 1, "\\u0061": 2}', /twice/],
    ['9007199254740993', /beyond 2\^53/],
    ['1e999', /beyond/],
    ['[1,]', /value/],
    ['{"a" 1}', /':' is missing/],
    ['[1 2]', /',' or ']'/],
    ['"\\x"', /malformed/],
    ['"abc', /does not end/],
    ['{} {}', /after the end/],
    ['', /value/],
    ['['.repeat(40), /nesting/],
  ])('refuses %s', (text, message) => {
    expect(() => parseStrictJson(text)).toThrow(message);
  });
});
