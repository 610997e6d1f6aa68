import { z } from 'zod';
import { TesseraeError } from '../errors';
import type { Graph } from '../graph/graph';
import { fp32 } from '../models/device_numbers';
import { settings } from '../models/settings';
import { nearestName } from '../models/validation';
import type { ParameterSettings } from '../native';
import type { ParameterGroup } from './parameter_groups.generated';

export type * from './parameter_groups.generated';

/** Validates a ParameterGroup. */
export const parameterGroupSchema = z
  .strictObject({
    match: z
      .string()
      .min(1)
      .max(1000)
      .describe(
        'The parameters, by their names in checkpoints, such as `transformer.h.0.mlp.c_fc.weight`. A `*` matches any text, ' +
          'dots included, as in `transformer.h.*.mlp.*`; everything else matches itself.',
      ),
    learningRateScale: fp32(z.number().gt(0).max(1000))
      .optional()
      .describe('Factor of the learning rate of these parameters. Default 1.'),
    weightDecay: fp32(z.number().min(0).max(100))
      .optional()
      .describe(
        'Their weight decay, also of biases and norms. Default: weightDecay for matrices, 0 for biases and norms.',
      ),
    trainable: z
      .boolean()
      .optional()
      .describe(
        'Whether they are trained; if false they never change, and their gradients are not computed. Default true.',
      ),
  })
  .refine(
    ({ learningRateScale, weightDecay, trainable }) =>
      [learningRateScale, weightDecay, trainable].some((setting) => setting !== undefined),
    'changes nothing: give learningRateScale, weightDecay or trainable',
  )
  .refine(
    ({ learningRateScale, weightDecay, trainable }) =>
      trainable !== false || (learningRateScale === undefined && weightDecay === undefined),
    'is not trainable, so learningRateScale and weightDecay have no effect: leave them out',
  )
  .describe('Parameters with settings of their own.')
  .register(settings, {
    name: 'ParameterGroup',
    synonyms: { params: 'match', lrScale: 'learningRateScale', requiresGrad: 'trainable' },
  });

/** Names of the parameters that training changes, unless groups freeze them. */
export const trainedNames = ({ parameters }: Graph): string[] =>
  parameters.filter(({ trainable }) => trainable !== false).map(({ name }) => name);

/**
 * The settings of single parameters. The first group that matches a parameter decides.
 *
 * @param names - trainedNames of the Graph.
 * @throws TesseraeError `ERR_CONFIG` if a group gets no parameter, or if nothing is left to train.
 */
export function parameterSettings(
  groups: readonly ParameterGroup[],
  names: readonly string[],
): Record<string, ParameterSettings> {
  const left = new Set(names);
  const settings = groups.flatMap(({ match, ...own }, index) => {
    const matching = names.filter((name) => matches(match, name));
    const taken = matching.filter((name) => left.delete(name));
    if (taken.length === 0) refuse(`parameterGroups[${index}].match`, whyEmpty(match, matching, names));
    return taken.map((name) => [name, own] as const);
  });
  if (left.size === 0 && settings.every(([, { trainable }]) => trainable === false))
    refuse('parameterGroups', 'leave no parameter to train: make a group match fewer');
  return Object.fromEntries(settings);
}

function whyEmpty(match: string, matching: readonly string[], names: readonly string[]): string {
  if (matching.length > 0)
    return `'${match}' matches only parameters of earlier groups: put this group before them, or leave it out`;
  const words = match
    .replaceAll('*', '')
    .split('.')
    .filter((word) => word !== '');
  const near = nearestName(words.join('.'), [...names, ...new Set(names.flatMap(partsOf))]);
  return (
    `'${match}' matches no trained parameter: ` +
    (near === undefined ? `names are such as '${names[0] ?? ''}'` : `did you mean '${near}'?`)
  );
}

/** The parts of a name between its dots, which patterns often give instead of the whole name. */
function partsOf(name: string): string[] {
  const words = name.split('.');
  return words.flatMap((_, from) =>
    words.slice(from).map((_word, i) => words.slice(from, from + i + 1).join('.')),
  );
}

/** Whether a name matches a pattern, in which `*` matches any text; takes time proportional to the lengths. */
function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*');
  const first = parts[0] ?? '';
  if (parts.length === 1) return name === pattern;
  const last = parts.at(-1) ?? '';
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length)
    return false;
  const end = name.length - last.length;
  let from = first.length;
  for (const part of parts.slice(1, -1)) {
    const at = name.indexOf(part, from);
    if (at < 0 || at + part.length > end) return false;
    from = at + part.length;
  }
  return true;
}

function refuse(path: string, why: string): never {
  throw new TesseraeError('ERR_CONFIG', `${path} ${why}`, { details: { path } });
}
