import { GraphBuilder, count, normal, vocabulary, width } from '../../../lib/graph/builder';
import { BATCH, type Graph } from '../../../lib/graph/graph';

/** One hidden layer that predicts a token, its kind, and, by an output layer that is also the embedding, the token before. */
export function threeLosses(weights: Readonly<Record<string, number>>): Graph {
  const g = new GraphBuilder('three losses');
  const length = g.lengthAxis('time');
  const [vocab, kinds] = [g.axis('vocab', vocabulary(29)), g.axis('kinds', count(5))];
  const [embd, inner] = [g.axis('embd', width(12)), g.axis('inner', width(20))];
  const ids = (name: string, below: number, ignored?: number) =>
    g.input(name, [BATCH, length], { kind: 'ids', below, ...(ignored === undefined ? {} : { ignored }) });
  const weight = (name: string, axes: string[]) => g.parameter(name, axes, normal(0.1), { decay: true });
  const wte = weight('wte', [vocab, embd]);
  const x = g.node('embedding', 'x', { ids: ids('tokens', 29), weight: wte });
  const wide = g.node('linear', 'wide', { x, weight: weight('wide.weight', [inner, embd]) });
  const hidden = g.node('activation', 'hidden', { x: wide }, { function: 'gelu' });
  const narrow = g.node('linear', 'narrow', { x: hidden, weight: weight('narrow.weight', [embd, inner]) });
  const y = g.node('add', 'y', { a: x, b: narrow });
  const loss = (name: string, head: string, size: number): string => {
    const logits = g.node('linear', `${name}.logits`, { x: y, weight: head });
    const targets = ids(`${name}.targets`, size, -1);
    return g.node('cross_entropy', name, { logits, targets }, { ignoreIndex: -1 });
  };
  const outputs = {
    loss: loss('next', weight('next.head', [vocab, embd]), 29),
    kind: loss('kinds', weight('kinds.head', [kinds, embd]), 5),
    before: loss('before', wte, 29),
  };
  return g.build(outputs, weights);
}
