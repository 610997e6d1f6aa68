import { count, GraphBuilder, head } from '../../../lib/graph/builder';
import { BATCH, type Graph } from '../../../lib/graph/graph';
import type { Batch } from '../../../lib/native';
import { failureOf } from '../support/errors';
import { withModel } from '../support/native';
import { twoStreams } from '../support/two_streams';

const lengths = { patches: 2, words: 4 };
const bytes = Uint8Array.from({ length: 3 * 2 * 5 }, (_, i) => (i * 37) % 256);
const caption = Int32Array.from({ length: 3 * 4 }, (_, i) => i % 7);

async function run(dtype: 'float32' | 'uint8', inputs: Batch, of = lengths): Promise<Float32Array> {
  return withModel(twoStreams(dtype), {}, async (model) => {
    const request = { mode: 'eval', rows: 3, lengths: of, outputs: ['seen', 'read'] } as const;
    const { outputs } = await model.run(request, inputs);
    expect([outputs['seen']!.shape, outputs['read']!.shape]).toEqual([
      [3, of.patches, 3],
      [3, of.words, 3],
    ]);
    return outputs['seen']!.data as Float32Array;
  });
}

test('two length axes have their own extents; bytes count as their numbers', async () => {
  const ofBytes = await run('uint8', { image: bytes, caption });
  expect(ofBytes.some((value) => value !== 0)).toBe(true);
  expect(await run('uint8', { image: new Uint8ClampedArray(bytes), caption } as unknown as Batch)).toEqual(
    ofBytes,
  );
  expect(await run('float32', { image: Float32Array.from(bytes), caption })).toEqual(ofBytes);
});

test.each<[string, Batch, object, 'ERR_DATA' | 'ERR_CONFIG', RegExp]>([
  [
    'floats for bytes',
    { image: Float32Array.from(bytes), caption },
    lengths,
    'ERR_DATA',
    /'image' has 30 elements of float32; it must be .*uint8/,
  ],
  ['too few bytes', { image: bytes.subarray(1), caption }, lengths, 'ERR_DATA', /'image' has 29 elements/],
  [
    'an id beyond the range',
    { image: bytes, caption: caption.map((id) => id + 1) },
    lengths,
    'ERR_DATA',
    /caption\[1\]\[2\] is 7/,
  ],
  [
    'no length of an axis',
    { image: bytes, caption },
    { words: 4 },
    'ERR_CONFIG',
    /request.lengths has no 'patches'/,
  ],
  [
    'a length of no axis',
    { image: bytes, caption },
    { ...lengths, time: 4 },
    'ERR_CONFIG',
    /request.lengths.time is not a length axis/,
  ],
])('a batch with %s is refused', async (_, inputs, of, code, message) => {
  const failure = await failureOf(code, () => run('uint8', inputs, of as typeof lengths));
  expect(failure.message).toMatch(message);
});

test.each<[string, (graph: Graph) => object, RegExp]>([
  ['version 1', (graph) => ({ ...graph, version: 1 }), /graph.version is 1/],
  [
    'an axis twice',
    (graph) => ({ ...graph, lengthAxes: ['words', 'words'] }),
    /graph.lengthAxes must hold distinct names/,
  ],
  [
    'batch as a length axis',
    (graph) => ({ ...graph, lengthAxes: ['batch'] }),
    /graph.lengthAxes must hold distinct names/,
  ],
  ...(
    [
      [
        'an unknown kind',
        'image',
        { kind: 'image' },
        /kind 'image' is unknown: use ids, lengths, starts, positions or values/,
      ],
      ['ids without a range', 'caption', { kind: 'ids', below: undefined }, /needs the field 'below'|below/],
      ['doubles', 'image', { dtype: 'float64' }, /dtype must be float32 or uint8/],
      [
        'lengths of no length axis',
        'captionLengths',
        { measures: 'pixels' },
        /measures 'pixels' is not one of/,
      ],
      [
        'lengths by position',
        'captionLengths',
        { axes: [BATCH, 'words'] },
        /lengths must have only the axis batch/,
      ],
      ['positions along no length axis', 'places', { measures: 'pixels' }, /measures 'pixels' is not one of/],
      ['positions by row', 'places', { axes: [BATCH] }, /positions must have the axes batch and one of/],
      ['starts by row', 'starts', { axes: [BATCH] }, /starts must have the axes batch and one of/],
    ] as const
  ).map(([name, input, change, message]): [string, (graph: Graph) => object, RegExp] => [
    name,
    (graph) => ({
      ...graph,
      inputs: graph.inputs.map((one) => (one.name === input ? { ...one, ...change } : one)),
    }),
    message,
  ]),
])('a graph with %s is refused', async (_, change, message) => {
  const changed = change(twoStreams('uint8')) as Graph;
  const failure = await failureOf('ERR_CONFIG', () => withModel(changed, {}, () => Promise.resolve()));
  expect(failure.message).toMatch(message);
});

test.each([
  ['starts', 'ids'],
  ['lengths', 'starts'],
] as const)('attention refuses %s of the kind %s', async (slot, kind) => {
  const g = new GraphBuilder('wrong kind');
  const time = g.lengthAxis('time');
  const qkv = g.axis('qkv', count(3), count(1), head(8));
  const given = kind === 'ids' ? ({ kind, below: 4, ignored: -9 } as const) : { kind };
  const inputs = {
    qkv: g.input('x', [BATCH, time, qkv], { kind: 'values', dtype: 'float32' }),
    [slot]: g.input('wrong', [BATCH, time], given),
  };
  const graph = g.build({ y: g.node('attention', 'y', inputs, { causal: true }) });
  const failure = await failureOf('ERR_CONFIG', () => withModel(graph, {}, () => Promise.resolve()));
  expect(failure.message).toBe(`graph.nodes[0].inputs.${slot} must name an input of the kind '${slot}'`);
});

test.each(['attention_backward', 'linear_weight_gradient', 'loss_gradient'])(
  'a graph cannot name %s, which contracts emit',
  async (op) => {
    const good = twoStreams('uint8');
    const nodes = [...good.nodes, { name: 'own', op, inputs: {} }];
    const create = () => withModel({ ...good, nodes }, {}, () => Promise.resolve());
    const { message } = await failureOf('ERR_CONFIG', create);
    expect(message).toBe(`graph.nodes[2].op '${op}' is unknown`);
  },
);
