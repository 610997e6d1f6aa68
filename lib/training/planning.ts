import type { Graph } from '../graph/graph';
import type { PlanRequest } from '../native';
import type { ResolvedTrainingArguments } from './arguments';
import { nativeOptimizer } from './optimizer_settings';
import { parameterSettings, trainedNames } from './parameter_groups';

/**
 * What of the training arguments decides which operations a step has, and what it keeps in memory.
 *
 * @throws TesseraeError `ERR_CONFIG` for parameter groups that don't fit the Graph.
 */
export function planSettings(
  args: ResolvedTrainingArguments,
  graph: Graph,
): Required<Pick<PlanRequest, 'optimizer' | 'emaDecay' | 'frozen'>> {
  const settings = parameterSettings(args.parameterGroups ?? [], trainedNames(graph));
  const frozen = Object.keys(settings).filter((name) => settings[name]?.trainable === false);
  return { optimizer: nativeOptimizer(args), emaDecay: args.emaDecay, frozen };
}
