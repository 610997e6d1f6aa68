import { GraphBuilder, normal, width } from '../../../lib/graph/builder';
import { BATCH, type Graph } from '../../../lib/graph/graph';

/** Pixels along one length axis and ids along another, each looked up or multiplied by a matrix. */
export function twoStreams(dtype: 'float32' | 'uint8'): Graph {
  const g = new GraphBuilder('two streams');
  const [patches, words] = [g.lengthAxis('patches'), g.lengthAxis('words')];
  const [pixels, ids, embd] = [g.axis('pixels', width(5)), g.axis('ids', width(7)), g.axis('embd', width(3))];
  const matrix = (name: string, from: string) => g.parameter(name, [embd, from], normal(1));
  const image = g.input('image', [BATCH, patches, pixels], { kind: 'values', dtype });
  const caption = g.input('caption', [BATCH, words], { kind: 'ids', below: 7 });
  g.input('captionLengths', [BATCH], { kind: 'lengths', measures: words });
  g.input('places', [BATCH, words], { kind: 'positions', measures: patches });
  g.input('starts', [BATCH, words], { kind: 'starts', optional: true });
  const seen = g.node('linear', 'seen', { x: image, weight: matrix('seen.weight', pixels) });
  const table = g.parameter('table', [ids, embd], normal(1));
  return g.build({ seen, read: g.node('embedding', 'read', { ids: caption, weight: table }) });
}
