import fc from 'fast-check';
import { JsonError, parseJson, parseJsonMaps, type StrictJson } from '../../../lib/files/json';

const plain = (value: StrictJson): unknown => {
  if (value instanceof Map) {
    const object: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const [key, item] of value) object[key] = plain(item);
    return object;
  }
  return Array.isArray(value) ? value.map(plain) : value;
};

describe('parseJson', () => {
  it('reads what JSON.parse reads', () => {
    const json = fc.json({ maxDepth: 6 });
    fc.assert(
      fc.property(json, (text) => {
        fc.pre(!/\d{16}|[eE][+-]?\d/.test(text));
        const expected: unknown = JSON.parse(text);
        expect(JSON.stringify(plain(parseJsonMaps(` ${text}\n`)))).toBe(JSON.stringify(expected));
        expect(parseJson(`\uFEFF${text}`)).toEqual(expected);
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
        if (!valid) expect(() => parseJson(text)).toThrow(JsonError);
      }),
      { numRuns: 2000 },
    );
  });

  it('keeps __proto__ as a key like any other', () => {
    const value = parseJsonMaps('{"__proto__": 1}') as Map<string, StrictJson>;
    expect([...value]).toEqual([['__proto__', 1]]);
    const object = parseJson('{"__proto__": {"polluted": true}}') as object;
    expect(Object.entries(object)).toEqual([['__proto__', { polluted: true }]]);
    expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
  });

  it.each([
    ['{"a": 1, "a": 2}', /column 10: the key "a" occurs twice/],
    ['{"a": 1, "\\u0061": 2}', /twice/],
    ['9007199254740993', /beyond 2\^53/],
    ['1e999', /beyond/],
    ['[1,]', /expected a value \(no ',' after the last one\), found ']'/],
    ['{"a": 1,}', /expected a name in double quotes \(no ',' after/],
    ['{"a" 1}', /expected ':', found '1'/],
    ['[1 2]', /expected ',' or ']', found '2'/],
    ['["a" "b"]', /expected ',' or ']', found text$/],
    ['"\\x"', /needs a backslash/],
    ['"a\nb"', /needs a backslash/],
    ['"abc', /text that does not end/],
    ['{} {}', /expected nothing more/],
    ['NaN', /expected a value, found 'NaN'/],
    ['[-Infinity]', /expected a value or ']', found '-Infinity'/],
    ['', /expected a value, found the end/],
    ['\uFEFF\uFEFF1', /expected a value/],
    ['['.repeat(200), /nesting/],
    ['['.repeat(1e6), /nesting/],
  ])('refuses %.40s', (text, message) => {
    expect(() => parseJson(text)).toThrow(message);
    expect(() => parseJsonMaps(text)).toThrow(message);
  });

  it('rounds numbers on request', () => {
    expect(parseJson('{"max": 1000000000000000019884624838656, "b": 1e999}', { rounds: true })).toEqual({
      max: 1e30,
      b: Infinity,
    });
  });

  it('knows line and column, for which a byte order mark does not count', () => {
    expect(() => parseJson('\uFEFF{\n "a" 1}')).toThrow("line 2, column 6: expected ':', found '1'");
    expect(() => parseJson('\uFEFF}')).toThrow('line 1, column 1: ');
  });
});
