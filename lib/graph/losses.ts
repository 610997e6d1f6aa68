import type { Graph, LossSpec } from './graph';

/** The losses of a Graph; the first is reported. */
export function lossesOf({ losses, outputs }: Graph): readonly LossSpec[] {
  return losses ?? ('loss' in outputs ? [{ output: 'loss', weight: 1 }] : []);
}

/** The input that has the targets of a loss. */
export function targetsOf(graph: Graph, { output }: LossSpec): string | undefined {
  return graph.nodes.find(({ name }) => name === graph.outputs[output])?.inputs['targets'];
}

/** The number of classes of the first loss: its targets are below it. */
export function classesOf(graph: Graph): number {
  const [loss] = lossesOf(graph);
  const targets = loss && graph.inputs.find(({ name }) => name === targetsOf(graph, loss));
  return targets?.kind === 'ids' ? targets.below : 1;
}
