import type { Graph, LossSpec } from './graph';

/** The losses of a Graph; the first is the one that is reported. */
export function lossesOf({ losses, outputs }: Graph): readonly LossSpec[] {
  return losses ?? ('loss' in outputs ? [{ output: 'loss', weight: 1 }] : []);
}

/** The input that has the targets of a loss. */
export function targetsOf(graph: Graph, { output }: LossSpec): string | undefined {
  return graph.nodes.find(({ name }) => name === graph.outputs[output])?.inputs['targets'];
}
