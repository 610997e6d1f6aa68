/** Settings in words, for docstrings and the help of the command line. */
import { z } from 'zod';
import { describeNumber } from './validation';

/** A schema and those inside it: what is optional, nullable or has a default wraps another. */
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

/** What a setting has where it is not given; undefined if its schema doesn't say. */
export function defaultOf(schema: z.ZodType): unknown {
  return [...layersOf(schema)].find((layer) => layer instanceof z.ZodDefault)?.def.defaultValue;
}

/** What a setting is and, of a number, what it may be; before the default, which a description has last. */
export function settingText(schema: z.ZodType): string {
  const text = [...layersOf(schema)].find(({ description }) => description !== undefined)?.description ?? '';
  const core = coreOf(schema);
  if (!(core instanceof z.ZodNumber)) return text;
  const allowed = describeNumber(core, undefined, valueText);
  const range = ` ${allowed.slice(0, 1).toUpperCase()}${allowed.slice(1)}.`;
  return text.replace(/(?= Default\b)|$/, range);
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
