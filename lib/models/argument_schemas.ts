/**
 * Schemas of arguments that JSON does not have, such as functions. Their mistakes are reported like those of any other field.
 */
import { z } from 'zod';
import { show } from './validation';

/** Accepts a value for which `is` returns true, without copying it. @param what - describes such a value in messages. */
export const taken = <T>(is: (value: unknown) => boolean, what: string): z.ZodType<T, T> =>
  z.custom<T>(is, { error: ({ input }) => `must be ${what}, not ${show(input)}` });

/** Takes a function. */
export const aFunction = <T>(): z.ZodType<T, T> =>
  taken<T>((value) => typeof value === 'function', 'a function');

/** Takes an object whose fields are checked elsewhere. */
export const anObject = <T extends object>(): z.ZodType<T, T> =>
  taken<T>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), 'an object');

/** Takes the signal of an AbortController. */
export const abortSignal = taken<AbortSignal>(
  (value) => hasFunctions(value, ['addEventListener', 'throwIfAborted']),
  'an AbortSignal',
);

const isPath = (value: unknown): boolean => typeof value === 'string' && value !== '';

/** Takes the path of a file or a folder. */
export const filePath = taken<string>(isPath, 'a path');

/** Takes a path, or several. */
export const filePaths = taken<string | readonly string[]>(
  (value) => isPath(value) || (Array.isArray(value) && value.length > 0 && value.every(isPath)),
  'a path, or an array of one or more',
);

/** Whether it is an object, or a function, with functions of these names. */
export function hasFunctions(value: unknown, names: readonly string[]): boolean {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  return names.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === 'function');
}

/** Whether it is a list, whatever its entries. */
export function isArrayLike(value: unknown): value is ArrayLike<unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const { length } = value as { readonly length?: unknown };
  return typeof length === 'number' && Number.isInteger(length) && length >= 0;
}
