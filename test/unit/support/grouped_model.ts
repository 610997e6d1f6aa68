import { count, GraphBuilder, head, normal, ones, vocabulary, width } from '../../../lib/graph/builder';
import { BATCH, type Graph } from '../../../lib/graph/graph';

/** A language model of two layers of attention alone, whose heads of queries share heads of keys. */
export function groupedModel(sizes: {
  readonly vocabSize: number;
  readonly nPositions: number;
  readonly nEmbd: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}): Graph {
  const g = new GraphBuilder('grouped');
  const time = g.lengthAxis('time');
  const vocab = g.axis('vocab', vocabulary(sizes.vocabSize));
  const positions = g.axis('positions', count(sizes.nPositions));
  const embd = g.axis('embd', width(sizes.nEmbd));
  const ofQ = g.axis('q', count(sizes.heads), head(sizes.headDim));
  const ofKv = g.axis('kv', count(2), count(sizes.kvHeads), head(sizes.headDim));
  const weight = (name: string, ...axes: string[]): string => g.parameter(name, axes, normal(1));
  const tokens = g.input('tokens', [BATCH, time], { kind: 'ids', below: sizes.vocabSize });
  const wte = weight('wte', vocab, embd);
  let x = g.node('embedding', 'embedded', { ids: tokens, weight: wte });
  x = g.node('position_embedding', 'placed', { x, weight: weight('wpe', positions, embd) });
  const norm = (name: string): string =>
    g.node('layer_norm', name, { x, weight: g.parameter(`${name}.weight`, [embd], ones) }, { epsilon: 1e-5 });
  for (const layer of ['first', 'second']) {
    const project = (part: string, input: string, to: string, from: string): string =>
      g.node('linear', `${layer}.${part}`, {
        x: input,
        weight: weight(`${layer}.${part}.weight`, to, from),
      });
    const normed = norm(`${layer}.norm`);
    const q = project('query', normed, ofQ, embd);
    const kv = project('key_value', normed, ofKv, embd);
    const mixed = g.node('attention', `${layer}.attention`, { q, kv }, { causal: true });
    x = g.node('add', `${layer}.sum`, { a: x, b: project('output', mixed, embd, ofQ) });
  }
  const logits = g.node('linear', 'head', { x: norm('norm'), weight: wte });
  return g.build({ logits, logProbs: g.node('log_softmax', 'log_probs', { x: logits }) });
}
