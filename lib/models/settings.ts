/** What schemas of settings know besides their rules and descriptions. */
import { z } from 'zod';

/** Other libraries' names of settings → ours. */
export type Synonyms = Readonly<Record<string, string>>;

/** What is registered of a schema. */
export interface SettingsMeta {
  /** Of an object: names that its settings have elsewhere. Errors suggest ours for them. */
  readonly synonyms?: Synonyms;
}

/** Register a schema last: most of zod's methods return another schema. */
export const settings = z.registry<SettingsMeta>();
