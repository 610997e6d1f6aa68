/** The types that scripts/declare_settings.mjs writes are those of their schemas, in both directions. */
import { expectTypeOf } from 'expect-type';
import type { z } from 'zod';
import type { LossScaling } from '../../lib';
import type { lossScalingSchema } from '../../lib/training/loss_scaling';

/** What zod infers, as it is declared: readonly, and what is not given is left out. */
type Declared<T> = T extends (...args: never[]) => unknown
  ? T
  : T extends readonly (infer Element)[]
    ? readonly Declared<Element>[]
    : T extends object
      ? { readonly [Key in keyof T]: Declared<Exclude<T[Key], undefined>> }
      : T;
type Given<Schema extends z.ZodType> = Declared<z.input<Schema>>;

export function settingsAreThoseOfTheirSchemas(): void {
  expectTypeOf<LossScaling>().toEqualTypeOf<Given<typeof lossScalingSchema>>();
}
