/** What schemas of settings have in addition to rules and descriptions. */
import { z } from 'zod';

/** Other libraries' names of settings → ours. */
export type Synonyms = Readonly<Record<string, string>>;

/** What is registered of a schema. */
export interface SettingsMeta {
  /** The TypeScript type that scripts/declare_settings.mjs declares: types that zod infers have no docstrings. */
  readonly name?: string;
  /** An example that its docstring has. */
  readonly example?: string;
  /** The TypeScript type of what zod can't describe, such as a function. */
  readonly type?: string;
  /** The modules of names in `type`, relative to the schema's module. */
  readonly imports?: Readonly<Record<string, string>>;
  /** Of an object: names that its settings have elsewhere. Errors suggest ours for them. */
  readonly synonyms?: Synonyms;
}

/** Register a schema last: most of zod's methods return another schema. */
export const settings = z.registry<SettingsMeta>();

/** An integer from `least` to `most`. */
export const integer = (least: number, most: number): z.ZodInt => z.int().min(least).max(most);

/** A number from `least` to `most` that the host computes with. */
export const number = (least: number, most: number): z.ZodNumber => z.number().min(least).max(most);
