/** Options of the command line that are settings: their names, values and help are those of a schema. */
import { Command, Option, type ParseOptionsResult } from 'commander';
import { z } from 'zod';
import { coreOf, settingText } from '../models/setting_text';
import { settings } from '../models/settings';
import { trainingArgumentsSchema } from '../training/arguments';
import { integer, number, positive } from './options';

/** What the command line itself says about a setting. */
interface SettingOption {
  /** The default shown in help. Default: the schema's. */
  readonly byDefault?: string | undefined;
  /** The argument in help, such as `<folder>`, and how it is read. Default: by the schema's type. */
  readonly argument?: string;
  readonly read?: (text: string, before: never) => unknown;
}

const flagOf = (name: string): string =>
  `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** The option of a setting, `--max-steps <n>` of `maxSteps`. */
export function settingOption(
  schema: z.ZodObject,
  name: string,
  { byDefault, argument, read }: SettingOption = {},
): Option {
  const setting = schema.shape[name] as z.ZodType;
  const value = valueOf(coreOf(setting));
  const flags = [flagOf(name), argument ?? value.argument].filter((part) => part !== '').join(' ');
  const option = new Option(flags, settingText(setting, byDefault)).helpGroup('Settings:');
  // A name such as noRepeatNgramSize denies nothing.
  option.negate = false;
  const parse = read ?? value.read;
  if (parse) option.argParser(parse as (text: string, before: unknown) => unknown);
  if (value.choices) option.choices(value.choices);
  return option;
}

/** The option that takes the place of a training argument of the configuration. */
export const overridingOption = (name: string, option: SettingOption = {}): Option =>
  settingOption(trainingArgumentsSchema, name, { ...option, byDefault: `training.${name}` });

/** How a setting is written on the command line. */
interface Value {
  readonly argument: string;
  readonly read?: (text: string) => unknown;
  readonly choices?: readonly string[];
}

function valueOf(schema: z.ZodType): Value {
  if (schema instanceof z.ZodNumber) {
    const least = schema.minValue ?? -Infinity;
    if (schema.isInt) return { argument: '<n>', read: integer(least) };
    return { argument: '<number>', read: least >= 0 ? positive : number };
  }
  if (schema instanceof z.ZodArray) {
    const { choices = [] } = valueOf(schema.element as z.ZodType);
    return { argument: '<name...>', choices };
  }
  if (schema instanceof z.ZodEnum) return { argument: '<name>', choices: schema.options.map(String) };
  if (schema instanceof z.ZodString) return { argument: '<text>' };
  if (schema instanceof z.ZodUnion) {
    const members = schema.options as z.ZodType[];
    return valueOf(members.find((member) => member instanceof z.ZodNumber) ?? z.boolean());
  }
  return { argument: '' };
}

/** A command with options that are settings. Names that other libraries have for them are unknown, and the error tells ours. */
export class SettingsCommand extends Command {
  private readonly synonyms = new Map<string, string>();

  addSettings(schema: z.ZodObject, options: readonly Option[]): this {
    for (const option of options) this.addOption(option);
    for (const [synonym, name] of Object.entries(settings.get(schema)?.synonyms ?? {})) {
      const meant = options.find((option) => option.attributeName() === name)?.long;
      if (meant !== undefined) this.synonyms.set(flagOf(synonym), meant);
    }
    return this;
  }

  override parseOptions(args: string[]): ParseOptionsResult {
    const parsed = super.parseOptions(args);
    const [flag = ''] = parsed.unknown[0]?.split('=') ?? [];
    const meant = this.synonyms.get(flag);
    if (meant !== undefined)
      this.error(`error: unknown option '${flag}'\n(Did you mean ${meant}?)`, {
        code: 'commander.unknownOption',
      });
    return parsed;
  }
}
