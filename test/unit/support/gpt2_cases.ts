import type { Graph } from '../../../lib/graph/graph';
import { gpt2 } from '../../../lib/models/gpt2';
import { sinusoidalTable } from '../../oracles/position_embedding';
import { elements, type Tensor } from '../../oracles/tensor';
import { Random } from './random';

/** Where each position's document starts, (rows, time). Rows have several documents, some of one token. */
export function randomStarts(rows: number, time: number, seed: number): Tensor {
  const random = new Random(seed);
  let start = 0;
  let i = 0;
  return random.tensor([rows, time], () => {
    const t = i++ % time;
    if (t === 0 || random.uniform() < 0.3) start = t;
    return start;
  });
}

const small = { nPositions: 11, nLayer: 2, embdPdrop: 0, attnPdrop: 0, residPdrop: 0 };

/** Small GPT-2s that together use every option, in sizes that are multiples of nothing. */
export const gpt2Cases: readonly (readonly [name: string, graph: Graph])[] = [
  ['pre norm, learned positions, tied', gpt2({ ...small, vocabSize: 61, nEmbd: 30, nHead: 3 })],
  [
    'dropout everywhere',
    gpt2({ ...small, vocabSize: 61, nEmbd: 30, nHead: 3, embdPdrop: 0.1, attnPdrop: 0.2, residPdrop: 0.3 }),
  ],
  [
    'post norm, sinusoidal positions, types and subtypes, untied, gelu',
    gpt2({
      ...small,
      vocabSize: 37,
      nEmbd: 20,
      nHead: 2,
      normalization: 'post',
      positions: 'sinusoidal',
      nTypes: 3,
      nStypes: 5,
      tieWordEmbeddings: false,
      activationFunction: 'gelu',
    }),
  ],
  [
    'encoder, no positions, heads of a size of their own, relu',
    gpt2({
      ...small,
      vocabSize: 29,
      nEmbd: 17,
      nHead: 3,
      headDim: 5,
      nInner: 23,
      isEncoder: true,
      positions: 'none',
      activationFunction: 'relu',
    }),
  ],
  [
    'scores divided by the number of the block',
    gpt2({
      ...{ ...small, vocabSize: 23, nEmbd: 12, nHead: 2 },
      ...{ scaleAttnByInverseLayerIdx: true, scaleAttnWeights: false },
    }),
  ],
  [
    'post norm, tied, types, one layer, silu',
    gpt2({
      ...small,
      nLayer: 1,
      vocabSize: 19,
      nEmbd: 12,
      nHead: 1,
      normalization: 'post',
      nTypes: 2,
      activationFunction: 'silu',
    }),
  ],
];

/** Weights large enough that every part of the model bends: normals, norms around one, sinusoids where fixed. */
export function randomWeights(graph: Graph, seed = 1): Map<string, Tensor> {
  const random = new Random(seed);
  const sizes = new Map(
    graph.axes.map(({ name, factors }) => [name, elements(factors.map(({ size }) => size))]),
  );
  return new Map(
    graph.parameters.map(({ name, axes, init }) => {
      const shape = axes.map((axis) => sizes.get(axis)!);
      if (init.type === 'sinusoidal') {
        const { data } = sinusoidalTable(shape[0]!, shape[1]!);
        return [name, { shape, data: data.map(Math.fround) }];
      }
      const mean = init.type === 'constant' ? init.value : 0;
      return [name, random.tensor(shape, () => Math.fround(mean + 0.25 * random.normal()))];
    }),
  );
}

/** A batch of random ids and, where the Graph needs them, lengths; about a fifth of the targets are ignored. */
export function randomBatch(graph: Graph, rows: number, time: number, seed: number): Map<string, Tensor> {
  const random = new Random(seed);
  const needed = graph.inputs.filter(({ optional }) => !optional);
  return new Map(
    needed.map((input) => {
      const { name, axes } = input;
      const draw = (i: number): number => {
        if (input.kind !== 'ids') return 1 + random.integer(time);
        const { below, ignored } = input;
        return ignored !== undefined && i > 0 && random.uniform() < 0.2 ? ignored : random.integer(below);
      };
      let i = 0;
      return [name, random.tensor(axes.length === 1 ? [rows] : [rows, time], () => draw(i++))];
    }),
  );
}
