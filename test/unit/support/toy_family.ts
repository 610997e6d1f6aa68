import { z } from 'zod';
import { count, GraphBuilder, normal, width, zeros, type Value } from '../../../lib/graph/builder';
import { BATCH, type Graph } from '../../../lib/graph/graph';
import { addFamily, type ModelConfig } from '../../../lib/models/families';
import type { Family } from '../../../lib/models/family';
import { parseConfig } from '../../../lib/models/validation';

const schema = z.strictObject({
  width: z.int().min(1).default(16),
  pixels: z.int().min(1).default(6),
  words: z.int().min(1).default(11),
  classes: z.int().min(2).default(3),
  patchesAtMost: z.int().min(1).default(40),
  wordsAtMost: z.int().min(1).default(50),
  /** Above 0: each word also predicts the one before it. */
  wordWeight: z.number().min(0).default(0),
});

export type ToyConfig = z.infer<typeof schema>;

/** Says which class a caption and the patches of an image belong to: two streams, bytes and ids, one target a row. */
function captionedImages(c: ToyConfig): Graph {
  const g = new GraphBuilder('captioned images');
  const [patches, words] = [g.lengthAxis('patches'), g.lengthAxis('words')];
  const embd = g.axis('embd', width(c.width));
  const linear = (name: string, x: Value, from: string, to: string): Value =>
    g.node('linear', name, {
      x,
      weight: g.parameter(`${name}.weight`, [to, from], normal(0.3), { decay: true }),
      bias: g.parameter(`${name}.bias`, [to], zeros),
    });
  const last = (name: string, x: Value, axis: string): Value =>
    g.node('last_position', name, {
      x,
      lengths: g.input(`${axis}Lengths`, [BATCH], { kind: 'lengths', measures: axis }),
    });

  const pixels = g.axis('pixels', width(c.pixels));
  const image = g.input('image', [BATCH, patches, pixels], { kind: 'values', dtype: 'float32' });
  const seen = g.node(
    'activation',
    'seen.act',
    { x: linear('seen', image, pixels, embd) },
    { function: 'gelu' },
  );

  const caption = g.input('caption', [BATCH, words], { kind: 'ids', below: c.words });
  const table = g.parameter('table', [g.axis('ids', count(c.words)), embd], normal(0.3), { decay: true });
  const read = g.node('embedding', 'read', { ids: caption, weight: table });

  const both = g.node('add', 'both', {
    a: last('seen.last', seen, patches),
    b: last('read.last', read, words),
  }); // (B, width)
  const classes = g.axis('classes', count(c.classes));
  const logits = linear('head', both, embd, classes);
  const label = g.input('label', [BATCH], { kind: 'ids', below: c.classes, ignored: -1 });
  const loss = g.node('cross_entropy', 'loss', { logits, targets: label }, { ignoreIndex: -1 });
  if (c.wordWeight === 0) return g.build({ loss, logits });

  const before = g.input('before', [BATCH, words], { kind: 'ids', below: c.words, ignored: -1 });
  const scores = g.node('linear', 'scores', { x: read, weight: table });
  const word = g.node('cross_entropy', 'word', { logits: scores, targets: before }, { ignoreIndex: -1 });
  return g.build({ loss, logits, word }, { loss: 1, word: c.wordWeight });
}

const family: Family<Partial<ToyConfig>, ToyConfig> = {
  schema,
  resolve: (options, at) => parseConfig(schema, options, { at }),
  graph: captionedImages,
  lengthLimits: ({ patchesAtMost, wordsAtMost }) => ({ patches: patchesAtMost, words: wordsAtMost }),
};

/** A family that reads no token ids; what the library's types call a model is one of the families that it has. */
export function toy(settings: Partial<ToyConfig> = {}): ModelConfig {
  addFamily('captioned_images', family);
  return { type: 'captioned_images', ...settings } as unknown as ModelConfig;
}
