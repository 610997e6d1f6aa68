import { types } from 'node:util';
import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { messageOf, TesseraeError } from '../errors';
import { settings, type Synonyms } from './settings';

/** An error in one field. */
export interface ConfigIssue {
  /** Its path, such as `model.nEmbd`. */
  readonly path: string;
  readonly message: string;
}

/** Most fields that an error names: a file may have a million wrong ones. */
const MOST_ISSUES = 10;

/** The candidate that `name` most probably means, or undefined if none is close. Synonyms win over similar names. */
export function nearestName(
  name: string,
  candidates: readonly string[],
  synonyms: Synonyms = {},
): string | undefined {
  const plain = (text: string): string => text.replace(/[_-]/g, '').toLowerCase();
  const wanted = plain(name);
  const known = Object.entries(synonyms).find(([synonym]) => plain(synonym) === wanted)?.[1];
  if (known !== undefined && candidates.includes(known)) return known;
  const ranked = candidates
    .map((candidate) => ({ candidate, edits: distance(wanted, plain(candidate)) }))
    .sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  return best && best.edits <= Math.max(2, Math.floor(wanted.length / 3)) ? best.candidate : undefined;
}

/**
 * Validates a configuration and fills in its defaults.
 *
 * @param at - path of the value in a larger configuration, such as `model`, which starts every path; or the name of an
 * argument.
 * @param whole - name of the value in messages if `at` is empty.
 * @param unreadable - the code for a value whose getters or proxy throw.
 * @throws TesseraeError `ERR_CONFIG`; the message has the value of each of the first ten wrong fields and what is allowed.
 * `details.path` is the first field's path, and `details.issues` has all ten.
 */
export function parseConfig<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  {
    at = '',
    whole = 'options',
    unreadable = 'ERR_CONFIG',
  }: { at?: string; whole?: string; unreadable?: 'ERR_CONFIG' | 'ERR_DATA' } = {},
): z.output<Schema> {
  try {
    return parsed(schema, value, { at, whole });
  } catch (cause) {
    if (cause instanceof TesseraeError) throw cause;
    // A getter or a proxy threw.
    const where = at === '' ? whole : at;
    throw new TesseraeError(unreadable, `${where} can't be read: ${messageOf(cause)}`, {
      details: { path: at },
      cause,
    });
  }
}

function parsed<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  { at, whole }: { at: string; whole: string },
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const found = distinct(result.error.issues);
  const issues = found
    .slice(0, MOST_ISSUES)
    .flatMap((issue) => explain(issue, schema, value, { at, whole }))
    .slice(0, MOST_ISSUES);
  const all = found.reduce(
    (sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1),
    0,
  );
  const more = all > issues.length ? `; and ${all - issues.length} more` : '';
  throw new TesseraeError('ERR_CONFIG', issues.map((issue) => issue.message).join('; ') + more, {
    details: { path: issues[0]?.path ?? at, issues },
  });
}

/** Shows a value in a message: short, strings quoted. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 57)}...'` : `'${value}'`;
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined)
    return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  // Array.isArray throws for a proxy that was revoked.
  return !types.isProxy(value) && Array.isArray(value) ? 'an array' : 'an object';
}

type Defined<T> = T extends (...args: never[]) => unknown
  ? T
  : T extends object
    ? { [K in keyof T]: Defined<Exclude<T[K], undefined>> }
    : T;

/** Removes undefined fields from plain data, at any depth, so that an optional field is either present or not. */
export function withoutUndefined<T>(value: T): Defined<T> {
  if (Array.isArray(value)) return value.map((item: unknown) => withoutUndefined(item)) as Defined<T>;
  const isPlain =
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain) return value as Defined<T>;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.map(([key, field]) => [key, withoutUndefined(field)])) as Defined<T>;
}

type Path = readonly PropertyKey[];

/** Merges issues with the same message: a number has an issue for each bound that it breaks. */
function distinct(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  const told = new Set<string>();
  return issues.filter((issue) => {
    const kind =
      issue.code === 'custom' ? issue.message : issue.code === 'unrecognized_keys' ? issue.code : '';
    const key = JSON.stringify([join('', issue.path), kind]);
    if (told.has(key)) return false;
    told.add(key);
    return true;
  });
}

function explain(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  root: unknown,
  { at, whole }: { at: string; whole: string },
): ConfigIssue[] {
  const path = join(at, issue.path);
  const value = valueAt(root, issue.path);
  if (issue.code === 'unrecognized_keys')
    return issue.keys
      .slice(0, MOST_ISSUES)
      .map((key) => unknownKey(key, path, objectAt(schema, issue.path, root)));
  const where = path === '' ? whole : path;
  if (value === undefined && issue.code !== 'custom')
    return [{ path, message: `${where} is missing: it must be ${allowed(schema, issue, root)}` }];
  // A refinement's message says everything by itself.
  if (issue.code === 'custom') return [{ path, message: `${where} ${issue.message}` }];
  const choices = choicesOf(schemaAt(schema, issue.path, root));
  const meant = typeof value === 'string' ? nearestName(value, choices) : undefined;
  const hint = meant === undefined ? '' : `: did you mean '${meant}'?`;
  return [{ path, message: `${where} must be ${allowed(schema, issue, root)}, not ${show(value)}${hint}` }];
}

function unknownKey(key: string, parent: string, object: z.ZodObject | undefined): ConfigIssue {
  const keys = Object.keys(object?.shape ?? {});
  const synonyms = object && settings.get(object)?.synonyms;
  const shown = key.length > 60 ? `${key.slice(0, 57)}...` : key;
  const path = parent === '' ? shown : `${parent}.${shown}`;
  const meant = nearestName(key, keys, synonyms);
  const hint = meant === undefined ? `known are ${keys.join(', ')}` : `did you mean ${meant}?`;
  return { path, message: `${path} is unknown: ${hint}` };
}

/** What a field may be, in words. */
function allowed(schema: z.ZodType, issue: z.core.$ZodIssue, root: unknown): string {
  const field = schemaAt(schema, issue.path, root);
  const words = field && describeSchema(field, valueAt(root, issue.path));
  if (words !== undefined) return words;
  if (issue.code === 'invalid_type') return `a value of type ${issue.expected}`;
  return issue.message;
}

/** @param value - what was given instead. */
function describeSchema(schema: z.ZodType, value?: unknown): string | undefined {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault)
    return describeSchema(schema.unwrap() as z.ZodType, value);
  if (schema instanceof z.ZodNullable) {
    const inner = describeSchema(schema.unwrap() as z.ZodType, value);
    return inner === undefined ? undefined : `${inner} or null`;
  }
  if (schema instanceof z.ZodNumber) return describeNumber(schema, value);
  if (schema instanceof z.ZodString) return schema.minLength === null ? 'text' : 'text that is not empty';
  if (schema instanceof z.ZodBoolean) return 'true or false';
  if (schema instanceof z.ZodLiteral && schema.values.size === 1) return show(schema.value);
  if (schema instanceof z.ZodArray) {
    const inner = describeSchema(schema.unwrap() as z.ZodType);
    return inner === undefined ? 'an array' : `an array of ${inner}`;
  }
  if (schema instanceof z.ZodObject) return 'an object';
  if (schema instanceof z.ZodDiscriminatedUnion) return 'an object';
  if (schema instanceof z.ZodUnion) {
    const parts = schema.options.map((option) => describeSchema(option as z.ZodType, value));
    return parts.every((part) => part !== undefined) ? parts.join(' or ') : undefined;
  }
  const choices = choicesOf(schema);
  if (choices.length === 0) return undefined;
  return choices.length === 1 ? show(choices[0]) : `one of ${choices.map(show).join(', ')}`;
}

/**
 * What a number may be, in words.
 *
 * @param value - what was given instead.
 * @param text - writes a bound.
 */
export function describeNumber(
  schema: z.ZodNumber,
  value: unknown,
  text: (bound: number) => string = String,
): string {
  const kind = schema.isInt ? 'an integer' : 'a number';
  const { minValue: low, maxValue: high } = schema;
  // Every integer is bounded by the largest exact one; only a value beyond that bound needs to hear of it.
  const beyond = typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER;
  const bounded = (bound: number | null): bound is number =>
    bound !== null && Number.isFinite(bound) && (beyond || Math.abs(bound) < Number.MAX_SAFE_INTEGER);
  const strict = (bound: number): boolean => !z.safeParse(schema, bound).success;
  if (bounded(low) && bounded(high)) {
    if (!strict(low) && !strict(high)) return `${kind} from ${text(low)} to ${text(high)}`;
    return `${kind} ${strict(low) ? 'above' : 'from'} ${text(low)} ${strict(high) ? 'and below' : 'to'} ${text(high)}`;
  }
  if (bounded(low)) return `${kind} ${strict(low) ? 'above' : 'of at least'} ${text(low)}`;
  if (bounded(high)) return `${kind} ${strict(high) ? 'below' : 'of at most'} ${text(high)}`;
  return kind;
}

function choicesOf(schema: z.ZodType | undefined): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodNullable)
    return choicesOf(schema.unwrap() as z.ZodType);
  if (schema instanceof z.ZodEnum) return schema.options.map(String);
  if (schema instanceof z.ZodLiteral) return [...schema.values].map(String);
  return [];
}

/** The object schema behind defaults, options and unions; of a discriminated union, the member that `value` names. */
function objectOf(schema: z.ZodType, value: unknown): z.ZodObject | undefined {
  if (schema instanceof z.ZodObject) return schema;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodNullable)
    return objectOf(schema.unwrap() as z.ZodType, value);
  if (schema instanceof z.ZodUnion) {
    const members = schema.options.map((option) => objectOf(option as z.ZodType, value));
    const known = members.filter((member) => member !== undefined);
    return known.find((member) => accepts(member, value)) ?? known[0];
  }
  return undefined;
}

function accepts(member: z.ZodObject, value: unknown): boolean {
  const type = valueAt(value, ['type']);
  return z.safeParse(member.shape['type'] as z.ZodType, type).success;
}

function schemaAt(schema: z.ZodType, path: Path, root: unknown): z.ZodType | undefined {
  let current: z.ZodType | undefined = schema;
  let value = root;
  for (const key of path) {
    if (!current) return undefined;
    const object = objectOf(current, value);
    if (object) {
      const shape: Readonly<Record<string, z.ZodType>> = object.shape;
      // A discriminator that matches no member: show what all of them are called.
      const members: z.ZodType | undefined =
        current instanceof z.ZodUnion && key === 'type' ? discriminators(current) : undefined;
      current = members ?? shape[String(key)];
    } else {
      while (current instanceof z.ZodOptional || current instanceof z.ZodDefault)
        current = current.unwrap() as z.ZodType;
      current = current instanceof z.ZodArray ? (current.unwrap() as z.ZodType) : undefined;
    }
    value = valueAt(value, [key]);
  }
  return current;
}

function objectAt(schema: z.ZodType, path: Path, root: unknown): z.ZodObject | undefined {
  const found = schemaAt(schema, path, root);
  return found && objectOf(found, valueAt(root, path));
}

function discriminators(union: z.ZodUnion): z.ZodType | undefined {
  const names = union.options.flatMap((option) => {
    const object = objectOf(option as z.ZodType, undefined);
    return object ? choicesOf(object.shape['type'] as z.ZodType) : [];
  });
  return names.length > 0 ? z.enum(names as [string, ...string[]]) : undefined;
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Readonly<Record<PropertyKey, unknown>>)[key];
  }
  return value;
}

function join(at: string, path: Path): string {
  let text = at;
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}
