import { count, GraphBuilder, head, normal, vocabulary, width } from '../../../lib/graph/builder';
import { BATCH, type Graph } from '../../../lib/graph/graph';
import { Blocks } from '../../../lib/models/blocks';

export interface EncoderDecoderConfig {
  readonly vocab: number;
  readonly kinds: number;
  readonly sourcePositions: number;
  readonly targetPositions: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly inner: number;
  readonly kindWeight: number;
}

/**
 * An encoder of one block and a decoder of one block. The decoder reads ranges of the source through grouped heads. There are
 * two losses: the next target token, and the kind of each row's source. One table embeds both streams and is the output layer.
 */
export function encoderDecoder(c: EncoderDecoderConfig): Graph {
  const g = new GraphBuilder('encoder and decoder');
  const [source, target] = [g.lengthAxis('source'), g.lengthAxis('target')];
  const vocab = g.axis('vocab', vocabulary(c.vocab));
  const [embd, inner] = [g.axis('embd', width(c.width)), g.axis('inner', width(c.inner))];
  const [heads, headDim] = [count(c.heads), head(c.width / c.heads)];
  const ofHeads = g.axis('heads', heads, headDim);
  const qkv = g.axis('qkv', count(3), heads, headDim);
  const kv = g.axis('kv', count(2), count(c.kvHeads), headDim);

  const blocks = new Blocks(g, { initializerRange: 0.1, layerNormEpsilon: 1e-5 });
  const norm = (name: string) => ({ name, axis: embd, place: 'pre' as const });
  const mlp = { embd, inner, layers: ['wide', 'narrow'] as const, activation: 'tanh' };
  const attention = { embd, qkv, heads: ofHeads, layers: ['qkv', 'out'] as const };
  const table = (name: string, axis: string): string =>
    g.parameter(`${name}.weight`, [axis, embd], normal(0.1), { decay: true });
  const wte = table('wte', vocab);
  const embed = (name: string, axis: string, positions: number): string => {
    const ids = g.input(name, [BATCH, axis], { kind: 'ids', below: c.vocab });
    const x = g.node('embedding', `${name}.embedding`, { ids, weight: wte });
    const weight = table(`${name}_wpe`, g.axis(`${name}Positions`, count(positions)));
    return g.node('position_embedding', `${name}.positions`, { x, weight });
  };

  const lengths = g.input('sourceLengths', [BATCH], { kind: 'lengths', measures: source });
  let x = embed('source', source, c.sourcePositions);
  x = blocks.residual('encoder.attn_sum', x, norm('encoder.norm1'), (y) =>
    blocks.attention('encoder.self_attn', y, { ...attention, lengths, mixing: { causal: false } }),
  );
  x = blocks.residual('encoder.mlp_sum', x, norm('encoder.norm2'), (y) => blocks.mlp('encoder.mlp', y, mlp));
  const memory = blocks.norm('encoder_norm', x, embd);

  let y = embed('target', target, c.targetPositions);
  y = blocks.residual('self_sum', y, norm('self_norm'), (z) =>
    blocks.attention('self_attn', z, { ...attention, mixing: { causal: true } }),
  );
  const ends = ['keyBegin', 'keyEnd'] as const;
  const [keyBegin, keyEnd] = ends.map((name) =>
    g.input(name, [BATCH, target], { kind: 'positions', measures: source }),
  );
  y = blocks.residual('cross_sum', y, norm('cross_norm'), (z) => {
    const q = blocks.linear('cross.q', z, embd, ofHeads);
    const keys = blocks.linear('cross.kv', memory, embd, kv);
    const inputs = { q, kv: keys, lengths, keyBegin, keyEnd };
    const mixed = g.node('attention', 'cross', inputs, { causal: false });
    return blocks.linear('cross.out', mixed, ofHeads, embd);
  });
  y = blocks.residual('mlp_sum', y, norm('mlp_norm'), (z) => blocks.mlp('mlp', z, mlp));
  const logits = g.node('linear', 'head', { x: blocks.norm('decoder_norm', y, embd), weight: wte });

  const kinds = g.axis('kindsAxis', vocabulary(c.kinds));
  const last = g.node('last_position', 'memory.last', { x: memory, lengths });
  const kindLogits = blocks.linear('kinds', last, embd, kinds);
  const loss = (name: string, values: string, targets: string, axes: readonly string[], below: number) =>
    g.node(
      'cross_entropy',
      name,
      { logits: values, targets: g.input(targets, axes, { kind: 'ids', below, ignored: -100 }) },
      { ignoreIndex: -100 },
    );
  const outputs = {
    loss: loss('loss', logits, 'next', [BATCH, target], c.vocab),
    kind: loss('kind.loss', kindLogits, 'kind', [BATCH], c.kinds),
  };
  return g.build(outputs, { loss: 1, kind: c.kindWeight });
}
