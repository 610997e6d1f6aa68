/** Lists from callers: their length is checked before anything else is read, and each entry is read once. */
import { types } from 'node:util';
import { messageOf, TesseraeError } from '../errors';
import { isArrayLike } from './argument_schemas';
import { show } from './validation';

/** Entries of a list whose length nothing else bounds. */
export const MOST_ENTRIES = 2 ** 24;

/** What a list may be, and how its mistakes are reported. */
export interface ListRules {
  /** What messages call it. */
  readonly name: string;
  readonly code: 'ERR_CONFIG' | 'ERR_DATA';
  /** Its path in the options, for `details.path`. */
  readonly path?: string;
  /** Entries that it may have. */
  readonly most: number;
}

/**
 * Runs code that reads a caller's value, whose getters or Proxy may throw anything.
 *
 * @throws TesseraeError of the code, with what was thrown as its cause; a TesseraeError is rethrown as it is.
 */
export function reading<T>({ name, code, path }: Omit<ListRules, 'most'>, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof TesseraeError) throw cause;
    const details = path === undefined ? {} : { path };
    throw new TesseraeError(code, `${name} can't be read: ${messageOf(cause)}`, { details, cause });
  }
}

/** Whether a typed array is detached, for example because it was sent to a worker; its length is then 0. */
export function isDetached(value: unknown): boolean {
  if (!types.isTypedArray(value) || value.length > 0) return false;
  try {
    new Uint8Array(value.buffer);
    return false;
  } catch {
    return true;
  }
}

/**
 * The length of a list (an array, a typed array, or an object with a length), before anything else of it is read.
 *
 * @throws TesseraeError of the code for a value that is not a list, has too many entries, or was detached.
 */
export function boundedLength(list: unknown, rules: ListRules): number {
  const { name, code, path, most } = rules;
  return reading(rules, () => {
    const fail = (message: string): TesseraeError =>
      new TesseraeError(code, `${name} ${message}`, { details: path === undefined ? {} : { path } });
    if (!isArrayLike(list)) throw fail(`must be an array, not ${show(list)}`);
    if (isDetached(list))
      throw fail(
        'is a typed array whose buffer was transferred elsewhere: give one that still has its memory',
      );
    const { length } = list;
    if (length > most) throw fail(`may have at most ${most} entries, not ${length}`);
    return length;
  });
}

/**
 * Copies a list.
 *
 * @param take - checks an entry and returns what to keep of it; a hole is undefined.
 * @throws TesseraeError as boundedLength does, and as `take` does.
 */
export function readList<T>(
  list: unknown,
  rules: ListRules,
  take: (entry: unknown, index: number) => T,
): T[] {
  const length = boundedLength(list, rules);
  const entries: T[] = [];
  reading(rules, () => {
    for (let i = 0; i < length; i++) entries.push(take((list as ArrayLike<unknown>)[i], i));
  });
  return entries;
}
