/** Metadata of schemas of settings, in addition to rules and descriptions. */
import { z } from 'zod';

/** Other libraries' names of settings → ours. */
export type Synonyms = Readonly<Record<string, string>>;

/** The metadata of a schema. */
export interface SettingsMeta {
  /** The TypeScript type that scripts/declare_settings.mjs declares: types that zod infers have no docstrings. */
  readonly name?: string;
  /** An example for its docstring. */
  readonly example?: string;
  /** The TypeScript type of what zod can't describe, such as a function. */
  readonly type?: string;
  /** The modules of names in `type`, relative to the schema's module. */
  readonly imports?: Readonly<Record<string, string>>;
  /** For an object: other libraries' names of its settings. Errors suggest ours instead. */
  readonly synonyms?: Synonyms;
}

/** Register a schema last, because most of zod's methods return a new schema. */
export const settings = z.registry<SettingsMeta>();

/** An integer from `least` to `most`. */
export const integer = (least: number, most: number): z.ZodInt => z.int().min(least).max(most);

/** A number from `least` to `most` that the host computes with. */
export const number = (least: number, most: number): z.ZodNumber => z.number().min(least).max(most);
