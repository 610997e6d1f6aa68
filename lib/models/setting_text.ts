/** Text about settings, for docstrings and the help of the command line. */
import { z } from 'zod';
import { describeNumber } from './validation';

/** A schema and the schemas that it wraps: optional, nullable and default schemas wrap another. */
function* layersOf(schema: z.ZodType): Generator<z.ZodType, void, void> {
  for (let layer = schema; ; layer = layer.unwrap() as z.ZodType) {
    yield layer;
    if (
      !(layer instanceof z.ZodOptional) &&
      !(layer instanceof z.ZodNonOptional) &&
      !(layer instanceof z.ZodNullable) &&
      !(layer instanceof z.ZodDefault)
    )
      return;
  }
}

/** The schema of a setting that is given. */
export const coreOf = (schema: z.ZodType): z.ZodType => [...layersOf(schema)].at(-1) ?? schema;

/**
 * What a setting is, the range of a number, and the default. A description may end with a default that depends on other
 * settings: 'Default 4 · nEmbd.'
 *
 * @param byDefault - the default, where it is not the schema's.
 */
export function settingText(schema: z.ZodType, byDefault?: string): string {
  const text = [...layersOf(schema)].find(({ description }) => description !== undefined)?.description ?? '';
  const [what = '', described = ''] = text.split(/ (?=Default\b)/);
  const value = byDefault ?? defaultText(schema);
  const last = value === undefined ? described : `Default ${value}.`;
  return [what, rangeText(coreOf(schema)), last].filter((sentence) => sentence !== '').join(' ');
}

/**
 * The description of a setting that only some choices of another setting have.
 *
 * @param owners - these choices.
 * @param byDefault - its default for them, if that depends on nothing else.
 * @param note - a remark on the default.
 */
export function ownedText(owners: readonly string[], what: string, byDefault?: unknown, note = ''): string {
  const text = `${owners.map((owner) => `\`${owner}\``).join(', ')}: ${what}`;
  return byDefault === undefined ? text : `${text} Default ${valueText(byDefault)}${note}.`;
}

/** What a number may be. */
function rangeText(schema: z.ZodType): string {
  if (!(schema instanceof z.ZodNumber)) return '';
  const text = describeNumber(schema, undefined, valueText);
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

/** The default of a schema, if it is one that a line can show. */
function defaultText(schema: z.ZodType): string | undefined {
  const value = [...layersOf(schema)].find((layer) => layer instanceof z.ZodDefault)?.def.defaultValue;
  return ['number', 'string', 'boolean'].includes(typeof value) ? valueText(value) : undefined;
}

/** A value as people write it: 10,000,000; 2^24; 1e-5; 'cosine'. */
export function valueText(value: unknown): string {
  if (typeof value !== 'number')
    return typeof value === 'string' ? `'${JSON.stringify(value).slice(1, -1)}'` : JSON.stringify(value);
  const exponent = Math.log2(value);
  if (Number.isInteger(exponent) && exponent > 16) return `2^${exponent}`;
  if (Number.isInteger(value) && Math.abs(value) < 1e9)
    return Math.abs(value) < 10_000 ? String(value) : value.toLocaleString('en-US');
  const scientific = value.toExponential().replace('e+', 'e');
  return scientific.length < String(value).length ? scientific : String(value);
}
