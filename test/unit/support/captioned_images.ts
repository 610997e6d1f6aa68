import { z } from 'zod';
import { GraphBuilder, normal, vocabulary, width, zeros, type Value } from '../../../lib/graph/builder';
import { BATCH, type Graph } from '../../../lib/graph/graph';
import type { Family } from '../../../lib/models/family';
import { parseConfig } from '../../../lib/models/validation';

const schema = z.strictObject({
  hiddenSize: z.int().min(1).default(16).describe('Width of the hidden layers.'),
  patchSize: z.int().min(1).default(6).describe('Numbers per patch of an image.'),
  vocabSize: z.int().min(1).default(11).describe('Number of words that captions are written in.'),
  classes: z.int().min(2).default(3).describe('Number of classes.'),
  maxPatches: z.int().min(1).default(40).describe('Most patches of an image.'),
  maxWords: z.int().min(1).default(50).describe('Most words of a caption.'),
  wordWeight: z
    .number()
    .min(0)
    .default(0)
    .describe('Weight of a second loss, which predicts words; 0: none.'),
});

/** The settings of the `captioned_images` family. */
export type CaptionedImagesOptions = z.input<typeof schema>;

/** The settings with every default filled in. */
export type CaptionedImagesConfig = z.output<typeof schema>;

/** Classifies captioned images. A row has an image of any number of patches, a caption of any number of words, and one class. */
function captionedImages(c: CaptionedImagesConfig): Graph {
  const g = new GraphBuilder('captioned_images');
  const patches = g.lengthAxis('patches');
  const words = g.lengthAxis('words');
  const pixels = g.axis('pixels', width(c.patchSize));
  const hidden = g.axis('hidden', width(c.hiddenSize));
  const vocab = g.axis('vocab', vocabulary(c.vocabSize));
  const classes = g.axis('classes', vocabulary(c.classes));

  const image = g.input('image', [BATCH, patches, pixels], { kind: 'values', dtype: 'float32' });
  const patchCount = g.input('patchCount', [BATCH], { kind: 'lengths', measures: patches });
  const caption = g.input('caption', [BATCH, words], { kind: 'ids', below: c.vocabSize });
  const wordCount = g.input('wordCount', [BATCH], { kind: 'lengths', measures: words });
  const label = g.input('label', [BATCH], { kind: 'ids', below: c.classes, ignored: -1 });

  const linear = (name: string, x: Value, from: string, to: string): Value =>
    g.node('linear', name, {
      x,
      weight: g.parameter(`${name}.weight`, [to, from], normal(0.3), { decay: true }),
      bias: g.parameter(`${name}.bias`, [to], zeros),
    });

  const projected = linear('image.projection', image, pixels, hidden);
  const seen = g.node('activation', 'image.act', { x: projected }, { function: 'gelu' }); // (B, patches, hidden)
  const lastSeen = g.node('last_position', 'image.last', { x: seen, lengths: patchCount }); // (B, hidden)

  const table = g.parameter('caption.table', [vocab, hidden], normal(0.3), { decay: true });
  const read = g.node('embedding', 'caption.embedding', { ids: caption, weight: table }); // (B, words, hidden)
  const lastRead = g.node('last_position', 'caption.last', { x: read, lengths: wordCount }); // (B, hidden)

  const both = g.node('add', 'both', { a: lastSeen, b: lastRead });
  const logits = linear('head', both, hidden, classes); // (B, classes)
  const loss = g.node('cross_entropy', 'loss', { logits, targets: label }, { ignoreIndex: -1 });
  if (c.wordWeight === 0) return g.build({ loss, logits });

  // A target for each word, such as the word before it.
  const wordTarget = g.input('wordTarget', [BATCH, words], { kind: 'ids', below: c.vocabSize, ignored: -1 });
  const scores = g.node('linear', 'word.scores', { x: read, weight: table });
  const word = g.node('cross_entropy', 'word', { logits: scores, targets: wordTarget }, { ignoreIndex: -1 });
  return g.build({ loss, logits, word }, { loss: 1, word: c.wordWeight });
}

export const captionedImagesFamily: Family<CaptionedImagesOptions, CaptionedImagesConfig> = {
  schema,
  resolve: (options, at) => parseConfig(schema, options, { at }),
  graph: captionedImages,
  lengthLimits: ({ maxPatches, maxWords }) => ({ patches: maxPatches, words: maxWords }),
};
