import path from 'node:path';
import fc from 'fast-check';

// The same cases each time: a failure can be looked into, and a green run means the same everywhere.
fc.configureGlobal({ seed: 1 });

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The addon's functions that take text: malformed text can't be made through lib/native.ts. */
interface TextAddon {
  plan(graph: string, request: string): string;
  createModel(graph: string, options: readonly string[]): Promise<object>;
  run(model: object, request: string, inputs: object, options: string): Promise<object>;
  configureTraining(model: object, options: string, rates: unknown, momenta: unknown): Promise<void>;
  trainStep(model: object, request: string, batches: object[]): Promise<object>;
  disposeModel(model: object): void;
}

const load = jest.requireActual<(root: string) => TextAddon>('node-gyp-build');
export const addon = load(path.resolve(__dirname, '../..'));

/** What native code may call users' mistakes; ERR_INTERNAL would be a mistake of ours. */
const NATIVE_CODES = ['ERR_CONFIG', 'ERR_SHAPE', 'ERR_DATA', 'ERR_DEVICE', 'ERR_OUT_OF_MEMORY'];

/** Fails unless what was thrown is a coded error with a message of sensible length. */
export function expectCoded(failure: unknown, codes: readonly string[] = NATIVE_CODES): void {
  const { code, message } = failure as { code?: unknown; message?: unknown };
  if (typeof code === 'string' && codes.includes(code) && typeof message === 'string' && message.length > 5) {
    expect(message.length).toBeLessThan(4000);
    return;
  }
  throw new Error(`not a coded error: ${String(code)} ${String(message)}`, { cause: failure });
}

const nested = (depth: number): Json => (depth === 0 ? [] : [nested(depth - 1)]);

/** Values that don't belong where they are put, or only just. */
const oddities: readonly Json[] = [
  null,
  true,
  false,
  '',
  'x',
  'batch',
  'time',
  'embd',
  'tokens',
  '__proto__',
  'constructor',
  '\u0000',
  'ä\u2028😀',
  '%s%n%d',
  'y'.repeat(300),
  0,
  -0,
  1,
  2,
  -1,
  0.5,
  1e-320,
  1e308,
  -1e308,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2 ** 63,
  2 ** 64,
  -(2 ** 63),
  [],
  {},
  [[]],
  [null],
  { a: 1 },
  nested(40),
];

/** Every place in a document: the keys from its root. */
function places(json: Json): (string | number)[][] {
  if (json === null || typeof json !== 'object') return [];
  return Object.entries(json).flatMap(([key, value]) => [
    [key],
    ...places(value).map((rest) => [key, ...rest]),
  ]);
}

type Mutation = (json: Json) => Json;

/** One structural change somewhere: a value replaced, removed, copied, moved or named otherwise. */
const mutation: fc.Arbitrary<Mutation> = fc
  .record({
    at: fc.nat(),
    from: fc.nat(),
    kind: fc.constantFrom('replace', 'remove', 'copy', 'rename', 'add', 'number'),
    odd: fc.constantFrom(...oddities),
    factor: fc.constantFrom(-1, 0, 0.5, 2, 3, 1000, 2 ** 20, 2 ** 40),
  })
  .map(({ at, from, kind, odd: shared, factor }) => (json) => {
    const odd = structuredClone(shared);
    const all = places(json);
    if (all.length === 0) return odd;
    const path = all[at % all.length]!;
    const parent = path.slice(0, -1).reduce<Json>((node, key) => (node as Record<string, Json>)[key]!, json);
    const container = parent as Record<string, Json>;
    const key = String(path.at(-1));
    const define = (name: string, value: Json): void => {
      // An own property even for `__proto__`, so that it is written to the text.
      const properties = { value, writable: true, enumerable: true, configurable: true };
      Object.defineProperty(container, name, properties);
    };
    switch (kind) {
      case 'replace':
        define(key, odd);
        break;
      case 'remove':
        if (Array.isArray(parent)) parent.splice(Number(key), 1);
        else delete container[key];
        break;
      case 'copy': {
        const source = all[from % all.length]!;
        const value = source.reduce<Json>((node, step) => (node as Record<string, Json>)[step]!, json);
        define(key, structuredClone(value));
        break;
      }
      case 'rename':
        define(`${key}_`, container[key]!);
        if (!Array.isArray(parent)) delete container[key];
        break;
      case 'add':
        if (Array.isArray(parent)) parent.push(structuredClone(container[key]!));
        else define(['__proto__', 'constructor', 'extra', ''][from % 4]!, odd);
        break;
      case 'number':
        if (typeof container[key] === 'number') define(key, container[key] * factor);
        else define(key, odd);
        break;
    }
    return json;
  });

/** A document with one to three changes. */
export const mutated = (valid: Json): fc.Arbitrary<Json> =>
  fc
    .array(mutation, { minLength: 1, maxLength: 3 })
    .map((changes) => changes.reduce((json, change) => change(json), structuredClone(valid)));

/** Text that is not quite the document: numbers that JSON hasn't, keys twice, bytes lost, brackets without end. */
export const damagedText = (valid: Json): fc.Arbitrary<string> => {
  const text = JSON.stringify(valid);
  const odd = fc.constantFrom(
    '',
    '\u0000',
    'NaN',
    'Infinity',
    '1e999',
    '-1e999',
    '0x10',
    '01',
    '"',
    '\\u0000',
    '\ud800',
    '"name":"twice",',
    '{"a":1,"a":2}',
    '['.repeat(100_000),
    '{"a":'.repeat(10_000),
    '9'.repeat(400),
    '/* */',
    ',',
  );
  return fc
    .record({ at: fc.nat(text.length), length: fc.nat(12), odd })
    .map(({ at, length, odd: inserted }) => text.slice(0, at) + inserted + text.slice(at + length));
};
